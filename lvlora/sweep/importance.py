"""Which settings of a search made a difference.

Knows: Optuna's analysis of variance over a regression forest. Does not know: figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lvlora.sweep.attempts import Attempt
from lvlora.sweep.space import Choice, Dimension, Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_TRIALS = 4
"""From fewer nothing can be said."""


def importances(space: Space, attempts: Iterable[Attempt]) -> dict[str, float]:
    """Setting → its share of the variance of the trials' values (functional ANOVA; Hutter, Hoos &
    Leyton-Brown 2014); empty where there are too few trials, settings or differences.

    Args:
        space: what was searched.
        attempts: of that search; only complete ones count.
    """
    import optuna

    made = [a for a in attempts if a.state == "complete" and a.value is not None]
    names = [n for n in space.dimensions if len({a.params.get(n) for a in made}) > 1]
    if len(made) < LEAST_TRIALS or len(names) < 2 or len({a.value for a in made}) < 2:
        return {}
    distributions = {name: _distribution(space.dimensions[name]) for name in names}
    study = optuna.create_study()
    for attempt in made:
        params = {name: attempt.params[name] for name in names}
        study.add_trial(
            optuna.trial.create_trial(
                params=params, distributions=distributions, value=attempt.value
            )
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def _distribution(dimension: Dimension) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if dimension.whole:
        step = 1 if dimension.step is None else int(dimension.step)
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=step
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)
