"""A sweep as people read it: its record and its plan as documents, with Optuna's own plots."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lvlora import numbers
from lvlora.report.document import Block, Cell, Document, Facts, Picture, Points, Section, Table
from lvlora.report.drawing import style
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.record import Sweep, SweepPlan, Trial
from lvlora.sweep.space import Space, merged, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LIMITS = (
    "The validation part chose among the trials, so the best one's error is a little too good; the "
    "test part was not touched. lvlora evaluate scores the best adapter on it.",
    "One seed for each trial: differences of the size that another seed makes mean nothing.",
    "FLOPs are exact counts of what the two conventions price; they measure neither energy nor "
    "time.",
)


def document(record: Sweep) -> Document:
    """Return the document of a study as it is; its pictures are drawn where they are shown."""
    lead = "No trial has a result yet."
    if record.best is not None:
        chosen = ", ".join(
            f"{n.replace('_', ' ')} {show(v)}" for n, v in record.best.params.items()
        )
        value = numbers.plain(record.best.value)
        lead = f"Best: trial {record.best.trial} ({chosen}), {metric_of(record)} {value}."
    command = "" if record.command is None else f"Train with these settings: {record.command}"
    sections = (
        Section("Trials", [_trials(record), _progress(record)] if record.table else []),
        Section("Best settings", [command] if command else [], more=True),
        Section("Figures", pictures_of(record), more=True),
        Section("Plan", _plan(record.plan, record.limit), more=True),
        Section("Settings", (Facts(record.settings),), more=True),
        Section("Limits", (Points(LIMITS),), more=True),
    )
    return Document(title=f"Sweep {record.study}", lead=lead, sections=sections)


def plan_document(planned: SweepPlan, limit: int | None) -> Document:
    """Return the document of a sweep before it is made."""
    blocks, estimate = _plan(planned.plan, limit), planned.estimate
    if estimate is not None:
        blocks.append(
            f"Time on this machine: about {numbers.duration(estimate.seconds)} with one process, "
            f"memory at most: about {numbers.size(estimate.peak_bytes)} a process. The probe's "
            f"{numbers.flops(estimate.probe_flops.executed)} FLOPs belong to no run."
        )
    return Document(title=f"Plan of {planned.study}", sections=(Section("Stages", blocks),))


def _plan(plan: SearchPlan, limit: int | None) -> list[Block]:
    rows: list[list[Cell]] = [
        [
            *(stage.stage, stage.trials),
            stage.space.text() or "the best so far, longer",
            " – ".join(numbers.count(n) for n in dict.fromkeys(stage.steps)),
            *(stage.flops_at_most.executed, stage.flops_at_most.coursework),
        ]
        for stage in plan.stages
    ]
    most = plan.flops_at_most
    if len(rows) > 1:
        rows.append(["together", plan.trials, "", "", most.executed, most.coursework])
    counted = most.of(plan.convention)
    caption = f"{numbers.flops(counted)} FLOPs at most{_share(counted, limit)}, {plan.convention}"
    often = "as --validate-every says"
    if plan.validations is not None:
        times = f"up to {plan.validations} times, the last at its end"
        often = "at its end" if plan.validations == 1 else times
    head = ["stage", "trials", "searched", "steps", "executed at most", "coursework at most"]
    return [
        Table(caption, head, rows, [len(rows) - 1] if len(rows) > 1 else []),
        f"Each trial is validated before it begins and {often}, on up to "
        f"{plan.validation_series} series.",
    ]


def _trials(record: Sweep) -> Table:
    names = list(dict.fromkeys(name for trial in record.table for name in trial.params))
    staged = len({trial.stage for trial in record.table}) > 1
    rows: list[list[Cell]] = [
        [
            f"trial {trial.trial}",
            *([trial.stage] * staged),
            *(show(trial.params[name]) if name in trial.params else None for name in names),
            *(trial.mae, trial.loss, trial.steps, trial.flops),
            trial.state + (f": {trial.reason}" if trial.reason else ""),
        ]
        for trial in record.table
    ]
    titles = [name.replace("_", " ") for name in names]
    head = ["trial", *(["stage"] * staged), *titles, "MAE", "loss", "steps", "FLOPs", "state"]
    marked = [i for i, trial in enumerate(record.table) if trial == record.best]
    return Table("Every trial; the best is marked", head, rows, marked)


def _progress(record: Sweep) -> str:
    done = record.trials.complete + record.trials.failed
    spent = record.flops.of(record.convention)
    left = ""
    if record.seconds_left is not None:
        duration = numbers.duration(record.seconds_left)
        left = f" About {duration} of training left, by one process."
    return (
        f"{done} of {record.trials.planned} trials, {numbers.flops(spent)} "
        f"FLOPs{_share(spent, record.limit)}, {record.convention}.{left}"
    )


def _share(spent: int, limit: int | None) -> str:
    return f" of {numbers.flops(limit)} ({numbers.share(spent / limit)})" if limit else ""


def metric_of(record: Sweep) -> str:
    """Return the name of a trial's value."""
    has_mae = any(trial.mae is not None for trial in record.table)
    return "validation MAE" if has_mae else "validation loss"


def pictures_of(record: Sweep) -> list[Picture]:
    """Return every picture that the trials of a sweep give."""
    valued = [trial for trial in record.table if trial.value is not None]
    if not valued:
        return []
    metric, space = metric_of(record), merged(stage.space for stage in record.plan.stages)
    return [
        Picture(
            "The error of each trial against its FLOPs",
            partial(error_by_flops_figure, valued, metric),
            name="error-by-flops",
        ),
        Picture(
            "The error of each trial against each of its settings",
            partial(error_by_setting_figure, valued, space, metric),
            name="error-by-setting",
        ),
    ]


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


def error_by_setting_figure(trials: Sequence[Trial], space: Space, metric: str) -> Figure:
    """Draw the error of each trial against each searched setting."""
    import optuna

    study = optuna.create_study()
    for trial in trials:
        taken = optuna.trial.FixedTrial(trial.params)
        Space({name: space.root[name] for name in trial.params}).suggest(taken)
        study.add_trial(
            optuna.trial.create_trial(
                value=trial.value, params=taken.params, distributions=taken.distributions
            )
        )
    return _drawn(lambda plots: plots.plot_slice(study, target_name=metric))


def _drawn(draw: Callable[[Any], Any]) -> Figure:
    """Draw one of Optuna's plots in our look; pyplot forgets the figure."""
    import matplotlib.pyplot as plt
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization import matplotlib as plots

    with style.look(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)  # of layouts that cannot be had
        figure: Figure = np.ravel(draw(plots))[0].figure
        figure.set_size_inches(style.WIDTH, 4.2)
        figure.set_layout_engine("none")  # its colour bar is laid out already
        plt.close(figure)
    return figure
