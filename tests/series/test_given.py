"""The trajectories that settings ask for."""

from __future__ import annotations

import pytest

from lvlora.errors import SettingsError
from lvlora.narrator import Silent
from lvlora.series import given
from lvlora.settings.data import InputSettings


def test_a_terminal_as_standard_input_is_no_file(monkeypatch):
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(given.sys, "stdin", Terminal())
    with pytest.raises(SettingsError, match="terminal"):
        given.given_dataset(InputSettings(data="-"), Silent())
