"""Figures of a sweep by Optuna's own plots: front, map of two settings, lines, importances."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lvlora.report.drawing import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna import Study
    from optuna.distributions import BaseDistribution

Rows = Sequence[Mapping[str, Any]]
"""A trial each: ``stage``, ``params``, ``value`` (None where it failed), ``flops``."""
Distributions = Mapping[str, "BaseDistribution"]
"""Searched setting → Optuna's distribution of it."""

_MOST_ALONG_A_SIDE = 12


def sweep_figures(
    rows: Rows, metric: str, distributions: Distributions, importances: Mapping[str, float]
) -> dict[str, Figure]:
    """Every figure that these trials give, by name; none where no trial has a result.

    Args:
        metric: what the value is, for the axes.
        importances: searched setting → its share of the differences; empty where it is not known.
    """
    valued = [row for row in rows if row["value"] is not None]
    if not valued:
        return {}
    figures = {"error-by-flops": error_by_flops_figure(valued, metric)}
    first = [row for row in valued if row["stage"] == valued[0]["stage"]]
    if is_map(first):
        figures["map"] = map_figure(first, metric, distributions)
    if searched(valued):
        figures["parallel"] = parallel_figure(valued, metric, distributions)
    if importances:
        figures["importances"] = importance_figure(first, metric, distributions)
    return figures


def searched(rows: Rows) -> list[str]:
    """The settings that every trial has and that take more than one value."""
    names = (
        [] if not rows else [n for n in rows[0]["params"] if all(n in r["params"] for r in rows)]
    )
    return [name for name in names if len({row["params"][name] for row in rows}) > 1]


def is_map(rows: Rows) -> bool:
    """Whether the trials are a grid of two settings, most of its cells with a result."""
    sides = [{row["params"][name] for row in rows} for name in searched(rows)]
    if len(sides) != 2:
        return False
    cells = len(sides[0]) * len(sides[1])
    return cells <= 2 * len(rows) and max(map(len, sides)) <= _MOST_ALONG_A_SIDE


def error_by_flops_figure(rows: Rows, metric: str) -> Figure:
    """The error of each trial against what it cost; the front is what none beats in both."""
    import optuna

    study = optuna.create_study(directions=["minimize", "minimize"])
    for row in rows:
        values = [float(row["flops"] or 0), float(row["value"])]
        study.add_trial(optuna.trial.create_trial(values=values))

    def draw(plots: Any) -> Any:
        names = ["FLOPs of the trial", metric]
        return plots.plot_pareto_front(study, target_names=names)

    return _drawn(draw)


def map_figure(rows: Rows, metric: str, distributions: Distributions) -> Figure:
    """The error over the two settings that the first stage searched."""
    names = searched(rows)
    study = _study(rows, names, distributions)
    return _drawn(lambda plots: plots.plot_contour(study, params=names, target_name=metric))


def parallel_figure(rows: Rows, metric: str, distributions: Distributions) -> Figure:
    """A line for each trial through its settings to its error."""
    names = searched(rows)
    study = _study(rows, names, distributions)
    return _drawn(
        lambda plots: plots.plot_parallel_coordinate(study, params=names, target_name=metric)
    )


def importance_figure(rows: Rows, metric: str, distributions: Distributions) -> Figure:
    """The share of the variance of the error that each setting explains."""
    import optuna

    study = _study(rows, searched(rows), distributions)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return _drawn(
        lambda plots: plots.plot_param_importances(study, evaluator=evaluator, target_name=metric)
    )


def _study(rows: Rows, names: Sequence[str], distributions: Distributions) -> Study:
    """Return a study in memory with a complete trial a row."""
    import optuna

    study = optuna.create_study()
    own = {name: distributions[name] for name in names}
    for row in rows:
        params = {name: row["params"][name] for name in names}
        trial = optuna.trial.create_trial(
            params=params, distributions=own, value=float(row["value"])
        )
        study.add_trial(trial)
    return study


def _drawn(draw: Callable[[Any], Any]) -> Figure:
    """Draw one of Optuna's plots in our look; pyplot forgets the figure."""
    import matplotlib.pyplot as plt
    from optuna.visualization import matplotlib as plots

    with style.look(), _without_experimental_warnings():
        figure: Figure = draw(plots).figure
        figure.set_size_inches(style.WIDTH, 4.2)
        figure.set_layout_engine("tight")
        plt.close(figure)
    return figure


@contextmanager
def _without_experimental_warnings() -> Iterator[None]:
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # of layouts that cannot be had
        yield
