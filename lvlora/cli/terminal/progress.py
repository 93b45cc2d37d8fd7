"""Long work on stderr: a live line on a terminal, one plain line every so often elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
)
from rich.table import Column

from lvlora import numbers
from lvlora.cli.terminal.output import Output, is_terminal, printable
from lvlora.train.record import Observer, RunPlan, StepRecord, ValidationRecord

SECONDS_BETWEEN_LINES = 10.0
"""How often a line is written where there is no terminal."""


def observer(output: Output) -> Observer:
    """Return a run's observer; it is silent under --quiet."""
    return Observer() if output.verbosity < 0 else _ShownRun(output)


@contextlib.contextmanager
def counted(output: Output, description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Progress of work that is counted; yields ``advance(n)``.

    Args:
        output: where to draw; --quiet draws nothing.
        description: what is counted: "Simulating", "Forecasting".
        total: how many there are.
    """
    if output.verbosity < 0:
        yield lambda n: None
        return
    display, done, began = _Display(output, description, total), 0, time.monotonic()

    def advance(n: int) -> None:
        nonlocal done
        done += n
        seconds = (time.monotonic() - began) / done * max(0, total - done) if done else 0.0
        # short work says nothing: its result is there at once
        display.show(done, "", seconds, f"{description}: {done} of {total}")

    try:
        yield advance
    finally:
        display.stop()


class _Display:
    """One live line on a terminal; elsewhere a plain line when one is due."""

    def __init__(self, output: Output, name: str, total: int, *, first: int = 0) -> None:
        self._output = output
        self._last = time.monotonic()
        self._progress: Progress | None = None
        self._task = TaskID(0)
        if not is_terminal(output.messages.file):
            return
        console = output.messages
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)
            ),
            *([] if console.width < 100 else [BarColumn(bar_width=20)]),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}", markup=False),
            console=console,
        )
        self._task = self._progress.add_task(
            printable(name), total=total, completed=first, facts=""
        )
        self._progress.start()
        output.displays.callback(self.stop)

    def show(self, done: int, facts: str, seconds: float, line: str, *, now: bool = False) -> None:
        """Show how much is done.

        Args:
            facts: what a live line says of it.
            seconds: that it still takes.
            line: the plain line; now: it is due in any case.
        """
        time_left = f"{numbers.duration(max(0.1, seconds))} left" if seconds > 0 else ""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, facts=f"{facts}  {time_left}".strip())
        elif now or time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self._output.note(f"{line}  {time_left}".rstrip())

    def stop(self) -> None:
        """Stop drawing; the last state stays."""
        if self._progress is not None:
            self._progress.stop()


class _ShownRun(Observer):
    """An observer that shows steps and validations, and knows how fast a run is."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._plan: RunPlan | None = None
        self._display: _Display | None = None
        self._seconds_per_step = 0.0
        self._per_validation = 0.0
        self._validated = 0

    def started(self, plan: RunPlan) -> None:
        """Say what is about to happen."""
        self._plan = plan
        self._output.note(_opening(plan))
        self._display = _Display(self._output, plan.run, plan.steps, first=plan.first_step)

    def step(self, record: StepRecord) -> None:
        """Show a step: loss, speed, FLOPs, and the time that is left."""
        plan = self._plan
        if plan is None or self._display is None:
            return
        # the first steps are slower than the rest: an average that forgets
        keep = 0.8 if self._seconds_per_step else 0.0
        self._seconds_per_step = keep * self._seconds_per_step + (1 - keep) * record.seconds
        speed = record.tokens / self._seconds_per_step if self._seconds_per_step > 0 else 0.0
        spent = record.spent.of(plan.convention)
        share = f" ({numbers.share(spent / plan.max_flops)})" if plan.max_flops else ""
        facts = (
            f"loss {record.loss:.4f}  {numbers.si(speed)} tokens/s  "
            f"{numbers.flops(spent)} FLOPs{share}"
        )
        seconds = self._seconds_per_step * (plan.steps - record.step)
        seconds += self._per_validation * max(0, plan.validations - self._validated)
        self._display.show(
            record.step,
            facts,
            seconds,
            f"step {record.step}/{plan.steps}  {facts}",
            now=record.step in (plan.first_step + 1, plan.steps),
        )

    def validated(self, record: ValidationRecord) -> None:
        """Show a validation."""
        self._per_validation = record.seconds
        self._validated += 1
        mae = "" if record.mae is None else f"  forecast MAE {numbers.plain(record.mae)}"
        best = "  (best so far)" if record.helps else ""
        if record.best and not record.helps:
            best = "  (best adapter so far; the model without it was better)"
        loss = "–" if record.loss is None else f"{record.loss:.4f}"
        self._output.note(f"validation at step {record.step}: loss {loss}{mae}{best}")

    def finished(self) -> None:
        """Stop drawing."""
        if self._display is not None:
            self._display.stop()


def _opening(plan: RunPlan) -> str:
    steps = plan.steps - plan.first_step
    summary = f"at most {numbers.flops(plan.flops_at_most)} FLOPs"
    if plan.validations:
        one = plan.validations == 1
        summary = f"{plan.validations} {'validation' if one else 'validations'}, {summary}"
    of_budget = f" of {numbers.flops(plan.max_flops)} allowed" if plan.max_flops is not None else ""
    goes_on = f" (after {plan.first_step} done)" if plan.first_step else ""
    return (
        f"{plan.run}: {numbers.count(steps)} {'step' if steps == 1 else 'steps'}{goes_on} of "
        f"{numbers.count(plan.tokens_per_step)} tokens, {summary}{of_budget}"
    )
