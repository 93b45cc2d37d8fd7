"""Settings of `lvlora doctor`, which checks the installation."""

from __future__ import annotations

from pathlib import Path

from lvlora.settings.base import Settings, option


class DoctorSettings(Settings):
    """`lvlora doctor`: what this machine and this installation can do."""

    runs: Path = option(
        Path("runs"), "Folder of the runs, whose disk is checked.", "Output", affects="project"
    )
