"""A shared study by hand: trials are claimed, ended and given back as `lvlora.sweep.trial` does."""

import warnings
from typing import Any

from optuna import Trial
from optuna.trial import TrialState

from lvlora.answers import Price
from lvlora.sweep.plan import make_plan, sampler_of, stages_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Space
from lvlora.sweep.study import SharedStudy, StudyFacts, compared
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


def claim(study: SharedStudy) -> Trial | None:
    """The next attempt; None while others make all that could be made."""
    while study.queue():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a database's hearts beat in `optimize`
            trial = study.study.ask()
        if study.claim(trial):
            return trial
        study.study.tell(trial, state=TrialState.FAIL)
    return None


def finish(study: SharedStudy, trial: Trial, value: float | None, **end: Any) -> None:
    """End an attempt: complete with a value, failed without one."""
    if value is None:
        trial.set_user_attr("end", {"reason": "it failed", **end})
        study.study.tell(trial, state=TrialState.FAIL)
    else:
        trial.set_user_attr("end", {"value": value, **end})
        study.study.tell(trial, value)


def give_back(study: SharedStudy, trial: Trial) -> None:
    """End an attempt without a result."""
    study.study.tell(trial, state=TrialState.FAIL)
