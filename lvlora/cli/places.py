"""Where a result is to be written, looked at before the work and not after it.

Knows: paths, standard output. Does not know: what is written.
"""

from __future__ import annotations

from pathlib import Path

from lvlora.errors import SettingsError

STANDARD_OUTPUT = Path("-")


def check_file(option: str, path: Path | None, *, json: bool = False, dash: bool = False) -> None:
    """Refuse what cannot become a file, or standard output where that is taken.

    Args:
        option: how to name it.
        path: None asks for nothing.
        json: standard output gets the JSON object.
        dash: ``-`` is standard output here.

    Raises:
        SettingsError: no such folder, a folder itself, or two results for standard output.
    """
    if path is None:
        return
    if path == STANDARD_OUTPUT and dash:
        if json:
            raise SettingsError(
                f"{option} - and --json both write to standard output.", "Leave one of them out."
            )
        return
    if path == STANDARD_OUTPUT or path.is_dir():
        raise SettingsError(f"{option} {path}: is no file to write to", "Choose another name.")
    if not path.absolute().parent.is_dir():
        raise SettingsError(
            f"{option} {path}: the folder {path.parent} is not there", "Make it first."
        )
