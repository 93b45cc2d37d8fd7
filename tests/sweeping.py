"""A shared study by hand: trials are claimed, ended and given back as `sweep.search` does."""

from contextlib import ExitStack

from optuna import Trial

from lvlora.answers import Price
from lvlora.sweep.plan import make_plan, stages_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Space
from lvlora.sweep.study import SharedStudy, StudyFacts
from lvlora.train.plan import Cost
from lvlora.train.settings import TrainSettings


def facts_of(settings: SweepSettings, own: Space | None = None, data: str = "abc") -> StudyFacts:
    """The facts of a study whose steps and validations have a made-up price."""
    stages = stages_of(settings, own)
    cost = Cost(Price(10, 20), Price(1, 2))
    return StudyFacts(
        settings=settings.model_dump(mode="json"),
        data_sha256=data,
        first_entry=1,
        plan=make_plan(stages, settings, TrainSettings(), {}, lambda trial: cost),
    )


def claim(study: SharedStudy, held: ExitStack | None = None) -> Trial | None:
    """The next attempt; None while others make all that could be made.

    Args:
        held: gets the lock, as long as a process would work; None: it is dead at once.
    """
    with ExitStack() as dead:
        return study.claim(dead if held is None else held)


def finish(study: SharedStudy, trial: Trial, value: float | None) -> None:
    """End an attempt: complete with a value, failed without one."""
    study.tell(trial, {"reason": "it failed"} if value is None else {"value": value})


def give_back(study: SharedStudy, trial: Trial) -> None:
    """End an attempt without a result."""
    study.tell(trial, {})
