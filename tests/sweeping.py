"""A shared study by hand: trials are claimed, ended and given back as `lvlora.sweep.loop` does."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from lvlora.flops.budget import NOTHING, Price
from lvlora.sweep.study import Claim, SharedStudy


def claim(board: SharedStudy) -> Claim | None:
    """The next attempt; None while others make all that could be made."""
    while board.queue():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a database's hearts beat in `optimize`
            trial = board.study.ask()
        taken = board.claim(trial)
        if taken is not None:
            return taken
        board.study.tell(trial, state=TrialState.FAIL)
    return None


def finish(
    board: SharedStudy,
    taken: Claim,
    outcome: Any,
    value: float | None,
    spent: Price = NOTHING,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """End an attempt with a result."""
    board.end(taken, outcome, value, spent, facts or {})
    states = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    if outcome in states:
        board.study.tell(taken.trial, state=states[outcome])
    else:
        board.study.tell(taken.trial, value)


def give_back(board: SharedStudy, taken: Claim, spent: Price) -> None:
    """End an attempt without a result."""
    board.lose(taken.trial.number, spent)
    board.study.tell(taken.trial, state=TrialState.FAIL)
