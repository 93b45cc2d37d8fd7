"""Settings of `lvlora doctor` and `lvlora report`."""

from __future__ import annotations

from pathlib import Path

from lvlora.settings.base import Settings, option


class DoctorSettings(Settings):
    """`lvlora doctor`: what this machine and this installation can do."""

    runs: Path = option(
        Path("runs"), "Folder of the runs, whose disk is checked.", "Output", affects="project"
    )


class ReportSettings(Settings):
    """`lvlora report RUN`: the page of a run or an evaluation again, from its folder."""

    run: str | None = option(
        None,
        "Folder or name of a run or an evaluation. Left out: the newest.",
        "Data",
        affects="data",
        argument=True,
        metavar="[RUN]",
        min_length=1,
    )
    open: bool = option(
        False, "Open the page in the browser.", "Output", affects="output", flag="--open"
    )
    runs: Path = option(Path("runs"), "Folder of the runs.", "Output", affects="project")
