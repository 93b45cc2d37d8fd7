"""How a sweep is shown: its plan, what happens while it works, the table of its trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.terminal.output import Output
from lvlora.cli.terminal.progress import observer
from lvlora.settings.training import SweepSettings

if TYPE_CHECKING:
    from lvlora.sweep.answers import Sweep, Trial
    from lvlora.sweep.plan import SearchPlan
    from lvlora.sweep.space import Params
    from lvlora.train.observer import Observer


class SweepNarration:
    """What a search tells, on stderr, and its plan; a `lvlora.sweep.narrator.SweepNarrator`."""

    def __init__(self, output: Output) -> None:
        self._output, self._waited = output, False
        self.note, self.detail = output.note, output.detail
        self.warning, self.hint = output.warning, output.hint
        self.counted = output.counted

    def planned(self, plan: SearchPlan, settings: SweepSettings) -> None:
        """A table."""
        show_plan(plan, settings, self._output)

    def began(self, slot: int, stage: str, params: Params) -> None:
        """A line."""
        self._waited = False
        chosen = ", ".join(f"{name.replace('_', ' ')} {_typed(v)}" for name, v in params.items())
        self.note(f"Trial {slot} ({stage}): {chosen}")

    def observer(self) -> Observer:
        """As `lvlora train` is watched."""
        return observer(self._output)

    def ended(self, trial: Trial, *, best: bool) -> None:
        """A line."""
        if trial.state == "failed":
            self.note(f"Trial {trial.trial} failed: {trial.reason}")
            return
        name = "MAE" if trial.value == trial.mae else "loss"
        how = "ended early, " if trial.state == "pruned" else ""
        so_far = "  (best so far)" if best else ""
        value = numbers.plain(trial.value)
        self.note(f"Trial {trial.trial}: {how}validation {name} {value}{so_far}")

    def recovered(self, slot: int) -> None:
        """A line."""
        self.note(f"Trial {slot} was left unfinished; it is made again.")

    def waiting(self) -> None:
        """A line, once."""
        if not self._waited:
            self._waited = True
            self.note("Waiting for the trials of other processes.")


def show_plan(plan: SearchPlan, settings: SweepSettings, output: Output) -> None:
    """The plan as a table."""
    rows = plan.rows(settings.convention)
    cells = [
        [
            row["stage"],
            numbers.count(row["trials"]),
            row["searched"],
            row["steps"],
            numbers.flops(row["flops_each"]),
            numbers.flops(row["flops_at_most"]),
        ]
        for row in rows
    ]
    at_most, limit = plan.at_most.of(settings.convention), settings.max_flops
    if len(rows) > 1:
        cells.append(["together", numbers.count(plan.n_trials), "", "", "", numbers.flops(at_most)])
    head = ["stage", "trials", "searched", "steps", "FLOPs each", "FLOPs at most"]
    title = (
        f"Plan: {numbers.flops(at_most)} FLOPs at most{_of(limit, at_most)}, {settings.convention}"
    )
    output.table(head, cells, title=title, bold=[len(rows)] if len(rows) > 1 else [])
    series, times = plan.validations.series, plan.validations.times
    if settings.validate_every is None:
        often = "at its end" if times == 1 else f"up to {times} times, the last at its end"
    elif settings.validate_every == 1:
        often = "after every step"
    else:
        often = f"every {numbers.count(settings.validate_every)} steps, and at its end"
    output.note(f"Each trial is validated before it begins and {often}, on up to {series} series.")


def show_sweep(found: Sweep, output: Output) -> None:
    """Every trial, what they cost together, and where the page is."""
    if found.table:
        _show_trials(found, output)
    spent = found.flops.model_dump()[found.convention]
    done = found.trials.complete + found.trials.pruned + found.trials.failed
    output.line(
        f"{done} of {found.trials.planned} trials, {numbers.flops(spent)} "
        f"FLOPs{_of(found.limit, spent)}, {found.convention}"
    )
    if found.seconds_left is not None:
        left = numbers.duration(found.seconds_left)
        output.line(f"about {left} of training left, by one process")
    if found.files:
        output.line(f"report  {found.files[-1]}")


def _show_trials(found: Sweep, output: Output) -> None:
    """The best in bold; those that no other beats in both error and FLOPs are marked, if asked."""
    names = list(dict.fromkeys(name for trial in found.table for name in trial.params))
    staged = len({trial.stage for trial in found.table}) > 1
    titles = [name.replace("_", " ") for name in names]
    head = ["trial", *(["stage"] * staged), *titles, "MAE", "loss", "steps", "FLOPs", "state"]
    cells = [
        [
            trial.trial,
            *([trial.stage] * staged),
            *(_cell(trial.params.get(name)) for name in names),
            numbers.plain(trial.mae),
            numbers.plain(trial.loss),
            None if trial.steps is None else numbers.count(trial.steps),
            None if trial.flops is None else numbers.flops(trial.flops),
            trial.state + (", front" if found.settings.pareto and trial.front else ""),
        ]
        for trial in found.table
    ]
    best = None if found.best is None else found.best.trial
    output.table(head, cells, bold=[i for i, t in enumerate(found.table) if t.trial == best])
    for trial in found.table:
        if trial.reason:
            output.line(f"trial {trial.trial} failed: {trial.reason}")


def _of(limit: int | None, spent: int) -> str:
    return f" of {numbers.flops(limit)} ({numbers.share(spent / limit)})" if limit else ""


def _typed(value: object) -> str:
    """As it is typed: 1e-05, 0.001, q_proj,v_proj."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cell(value: object) -> str | None:
    if value is None:
        return None
    return f"{value:.4g}" if isinstance(value, float) else str(value)
