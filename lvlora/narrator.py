"""The listener to a verb at work: remarks, warnings, and how much is done."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

Advance = Callable[[int], None]
"""Told how many more are done."""


class Narrator(Protocol):
    """Told by a verb, in whole sentences; a terminal shows it, a program mostly doesn't."""

    def note(self, message: str) -> None:
        """Something worth knowing."""

    def detail(self, message: str) -> None:
        """Something for who wants to know more."""

    def warning(self, message: str) -> None:
        """Something that may be wrong."""

    def hint(self, message: str) -> None:
        """Suggest the next command."""

    def counted(self, what: str, total: int) -> AbstractContextManager[Advance]:
        """Work that is counted is done inside the block.

        Args:
            what: is counted: "Forecasting".
            total: how many there are.
        """


class Silent:
    """A narrator that says nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def detail(self, message: str) -> None:
        """Nothing."""

    def warning(self, message: str) -> None:
        """Nothing."""

    def hint(self, message: str) -> None:
        """Nothing."""

    @contextlib.contextmanager
    def counted(self, what: str, total: int) -> Iterator[Advance]:
        """Nothing."""
        yield lambda n: None


class AsWarnings(Silent):
    """Pass a verb's warnings on as Python's, and nothing else."""

    def warning(self, message: str) -> None:
        """Warn the caller of the door."""
        warnings.warn(message, UserWarning, stacklevel=2)
