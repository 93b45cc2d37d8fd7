"""Figures of a sweep by Optuna's own plots: front, map of two settings, lines, importances."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lvlora.report.document import Picture
from lvlora.report.drawing import style
from lvlora.sweep.answers import PlanSummary, Sweep, Trial
from lvlora.sweep.space import Space, merged

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study

LEAST_TRIALS = 4
"""Importances of fewer trials mean nothing."""
_MOST_ALONG_A_SIDE = 12


def pictures_of(record: Sweep) -> list[Picture]:
    """Return every picture that the trials of a sweep give."""
    valued = [trial for trial in record.table if trial.value is not None]
    if not valued:
        return []
    space, first = _space(record.plan), _of_first_stage(record.plan, valued)
    names, first_names = searched(valued), searched(first)
    pictures = [
        Picture(
            "The error of each trial against its FLOPs",
            partial(error_by_flops_figure, valued, metric_of(record)),
            name="error-by-flops",
        )
    ]

    def add(name: str, alt: str, plot: str, trials: Sequence[Trial], axes: Sequence[str]) -> None:
        caption = "With few trials a hint, no more." if name == "importances" else ""
        draw = partial(settings_figure, plot, trials, axes, space, metric_of(record))
        pictures.append(Picture(alt, draw, caption, name=name))

    if is_map(first):
        alt = "The error over the two searched settings"
        add("map", alt, "plot_contour", first, first_names)
    if names:
        add(
            "parallel",
            "A line for each trial to its error",
            "plot_parallel_coordinate",
            valued,
            names,
        )
    if record.importances:
        alt = "The share of each setting in the differences between the trials of the search"
        add("importances", alt, "plot_param_importances", first, first_names)
    return pictures


def metric_of(record: Sweep) -> str:
    """Return the name of a trial's value."""
    valued = [trial for trial in record.table if trial.value is not None]
    if not valued:
        return "validation error"
    return "validation loss" if valued[0].mae is None else "validation MAE"


def importances(plan: PlanSummary, trials: Sequence[Trial]) -> dict[str, float]:
    """Return setting → its share of the variance of the values of the first stage's trials.

    By functional ANOVA (Hutter, Hoos & Leyton-Brown 2014). Empty where there are too few trials,
    settings or differences.
    """
    import optuna

    complete = [t for t in trials if t.state == "complete" and t.value is not None]
    first = _of_first_stage(plan, complete)
    names = searched(first)
    few = len(first) < LEAST_TRIALS or len(names) < 2
    if few or len({trial.value for trial in first}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(
        _study(first, names, _space(plan)), evaluator=evaluator
    )
    return {name: float(share) for name, share in shares.items()}


def searched(trials: Sequence[Trial]) -> list[str]:
    """Return the settings that every trial has and that take more than one value."""
    names = trials[0].params if trials else {}
    shared = [name for name in names if all(name in trial.params for trial in trials)]
    return [name for name in shared if len({trial.params[name] for trial in trials}) > 1]


def is_map(trials: Sequence[Trial]) -> bool:
    """Whether the trials are a grid of two settings, most of its cells with a result."""
    sides = [{trial.params[name] for trial in trials} for name in searched(trials)]
    if len(sides) != 2:
        return False
    cells = len(sides[0]) * len(sides[1])
    return cells <= 2 * len(trials) and max(map(len, sides)) <= _MOST_ALONG_A_SIDE


def error_by_flops_figure(trials: Sequence[Trial], metric: str) -> Figure:
    """Draw the error of each trial against its FLOPs; the front is what none beats in both."""
    import optuna

    study = optuna.create_study(directions=["minimize", "minimize"])
    for trial in trials:
        assert trial.value is not None
        values = [float(trial.flops or 0), float(trial.value)]
        study.add_trial(optuna.trial.create_trial(values=values))
    names = ["FLOPs of the trial", metric]
    return _drawn(lambda plots: plots.plot_pareto_front(study, target_names=names))


def settings_figure(
    plot: str, trials: Sequence[Trial], names: Sequence[str], space: Space, metric: str
) -> Figure:
    """Draw one of Optuna's plots of the error over settings."""
    import optuna

    study = _study(trials, names, space)
    options: dict[str, Any] = {"params": list(names), "target_name": metric}
    if plot == "plot_param_importances":
        options["evaluator"] = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return _drawn(lambda plots: getattr(plots, plot)(study, **options))


def _space(plan: PlanSummary) -> Space:
    return merged([Space(stage.space) for stage in plan.stages])


def _of_first_stage(plan: PlanSummary, trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.stage == plan.stages[0].stage]


def _study(trials: Sequence[Trial], names: Sequence[str], space: Space) -> Study:
    """Return a study in memory with a complete trial for each of these."""
    import optuna

    study = optuna.create_study()
    distributions = space.distributions()
    for trial in trials:
        assert trial.value is not None
        study.add_trial(
            optuna.trial.create_trial(
                params={name: trial.params[name] for name in names},
                distributions={name: distributions[name] for name in names},
                value=float(trial.value),
            )
        )
    return study


def _drawn(draw: Callable[[Any], Any]) -> Figure:
    """Draw one of Optuna's plots in our look; pyplot forgets the figure."""
    import matplotlib.pyplot as plt
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization import matplotlib as plots

    with style.look(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # of layouts that cannot be had
        figure: Figure = draw(plots).figure
        figure.set_size_inches(style.WIDTH, 4.2)
        figure.set_layout_engine("tight")
        plt.close(figure)
    return figure
