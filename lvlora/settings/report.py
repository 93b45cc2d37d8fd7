"""Settings of `lvlora report`, which rebuilds and opens a page."""

from __future__ import annotations

from pathlib import Path

from lvlora.settings.base import Settings, option


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
