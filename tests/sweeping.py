"""A shared study by hand: trials are claimed, ended and given back as `lvlora.sweep.trial` does."""

import warnings
from collections.abc import Mapping
from typing import Any

from optuna.trial import TrialState

from lvlora.answers import Price
from lvlora.sweep.plan import make_plan, sampler_of, stages_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Space
from lvlora.sweep.study import Claim, SharedStudy, StudyFacts, compared
from lvlora.train.schedule import Cost
from lvlora.train.settings import TrainSettings


def facts_of(settings: SweepSettings, own: Space | None = None, data: str = "abc") -> StudyFacts:
    """The facts of a study whose steps and validations have a made-up price."""
    stages = stages_of(settings, own)
    cost = Cost(Price(10, 20), Price(1, 2))
    return StudyFacts(
        settings=compared(settings),
        data=None,
        data_sha256=data,
        sampler=sampler_of(settings, stages[0].space),
        max_flops=settings.max_flops,
        first_entry=1,
        plan=make_plan(stages, settings, TrainSettings(), {}, lambda trial: cost),
    )


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
    facts: Mapping[str, Any] | None = None,
) -> None:
    """End an attempt with a result."""
    board.end(taken, outcome, value, facts or {})
    states = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    if outcome in states:
        board.study.tell(taken.trial, state=states[outcome])
    else:
        board.study.tell(taken.trial, value)


def give_back(board: SharedStudy, taken: Claim) -> None:
    """End an attempt without a result."""
    board.study.tell(taken.trial, state=TrialState.FAIL)
