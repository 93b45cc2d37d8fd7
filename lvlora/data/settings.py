"""Settings of `lvlora simulate` and `lvlora analyze`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lvlora.settings.base import Seed, option
from lvlora.settings.shared import OutputSettings, SplitSettings

System = Literal["rosenzweig-macarthur", "lotka-volterra", "self-limited"]


class SimulateSettings(OutputSettings):
    """`lvlora simulate`: write a data set of predator-prey trajectories."""

    output: Path = option(
        Path("simulated.h5"),
        "File to write: .h5, .csv (long) or .parquet; - writes CSV to standard output.",
        "Output",
        affects="output",
        argument=True,
        metavar="[FILE]",
    )
    system: System = option(
        "rosenzweig-macarthur", "Equations to integrate.", "Simulation", affects="result"
    )
    n_series: int = option(
        200, "Number of trajectories.", "Simulation", affects="result", short="-n", ge=1, le=10**6
    )
    n_steps: int = option(
        100, "Samples in each trajectory.", "Simulation", affects="result", ge=2, le=10**6
    )
    duration: float = option(
        200.0,
        "Time of the last sample (the first is at 0), in time units.",
        "Simulation",
        affects="result",
        gt=0,
    )
    noise: float = option(
        0.0,
        "Observation noise: standard deviation of the log of a multiplicative log-normal factor.",
        "Simulation",
        affects="result",
        ge=0,
        le=2,
    )
    gaps: float = option(
        0.0,
        "Share of values that are missing (at random).",
        "Simulation",
        affects="result",
        ge=0,
        lt=1,
    )
    seed: Seed = option(
        0, "Seed; the same seed gives the same file.", "Simulation", affects="result"
    )


class AnalyzeSettings(SplitSettings):
    """`lvlora analyze`: quality, statistics, periods, phase lag, clusters, figures."""

    clusters: int = option(4, "Number of KMeans clusters.", "Data", affects="result", ge=1, le=20)
    seed: Seed = option(0, "Seed of the clustering.", "Data", affects="result")
    out: Path | None = option(
        None,
        "Folder for the figures (PNG and SVG) and split.json, the ids in each part; left out: no "
        "files.",
        "Output",
        affects="output",
    )
