"""Whom a search tells what it does, beyond what every verb tells."""

from __future__ import annotations

from typing import Protocol

from lvlora import narrator
from lvlora.settings.training import SweepSettings
from lvlora.sweep import answers
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.space import Params
from lvlora.train.observer import Observer
from lvlora.train.observer import Silent as SilentRun


class SweepNarrator(narrator.Narrator, Protocol):
    """Told by a search; the trials' runs have observers of their own."""

    def planned(self, plan: SearchPlan, settings: SweepSettings) -> None:
        """What will be done at most; nothing was spent yet."""

    def began(self, slot: int, stage: str, params: Params) -> None:
        """A trial begins."""

    def observer(self) -> Observer:
        """Who watches the run of the trial that began last."""

    def ended(self, trial: answers.Trial, *, best: bool) -> None:
        """A trial has a result, or failed; ``best``: none before it was better."""

    def recovered(self, slot: int) -> None:
        """A trial of a process that died will be made again."""

    def waiting(self) -> None:
        """Others make all that can be made now; told about once a second."""


class Silent(narrator.Silent):
    """A narrator of a search that says nothing."""

    def planned(self, plan: SearchPlan, settings: SweepSettings) -> None:
        """Nothing."""

    def began(self, slot: int, stage: str, params: Params) -> None:
        """Nothing."""

    def observer(self) -> Observer:
        """One that does nothing."""
        return SilentRun()

    def ended(self, trial: answers.Trial, *, best: bool) -> None:
        """Nothing."""

    def recovered(self, slot: int) -> None:
        """Nothing."""

    def waiting(self) -> None:
        """Nothing."""
