"""Long work on stderr: a live line on a terminal, one plain line every so often elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from lvlora import numbers
from lvlora.cli.terminal.output import Output, is_terminal, printable
from lvlora.train.record import Observer, RunPlan, StepRecord, ValidationRecord

SECONDS_BETWEEN_LINES = 10.0
"""How often a line is written where there is no terminal."""


def observer(output: Output) -> Observer:
    """Return a run's observer: silent under --quiet, live on a terminal, plain lines elsewhere."""
    if output.verbosity < 0:
        return Observer()
    if is_terminal(output.messages.file):
        return LiveRun(output)
    return PlainRun(output)


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
    elif is_terminal(output.messages.file):
        with _progress(output.messages) as progress:
            task = progress.add_task(printable(description), total=total)
            yield lambda n: progress.advance(task, n)
    else:
        yield _PlainCount(output, description, total)


class _PlainCount:
    def __init__(self, output: Output, description: str, total: int) -> None:
        self._output, self._description, self._total = output, description, total
        self._done = 0
        self._started = time.monotonic()
        self._pace = _Pace()

    def __call__(self, n: int) -> None:
        self._done += n
        # short work says nothing: its result is there at once
        if self._pace.due() and self._done:
            rate = (time.monotonic() - self._started) / self._done
            left = _left(rate * max(0, self._total - self._done))
            self._output.note(f"{self._description}: {self._done} of {self._total}{left}")


class _Pace:
    """Tells when the next plain line is due; the first is after one interval."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < SECONDS_BETWEEN_LINES:
            return False
        self._last = now
        return True


def _left(seconds: float) -> str:
    """How long it still takes; nothing at the end."""
    return f", {numbers.duration(max(0.1, seconds))} left" if seconds > 0 else ""


class _ShownRun(Observer):
    """An observer that writes lines of what happens, and knows how fast a run is."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._plan: RunPlan | None = None
        self._seconds_per_step = 0.0
        self._per_validation = 0.0
        self._validated = 0

    def started(self, plan: RunPlan) -> None:
        """Say what is about to happen."""
        self._plan = plan
        self._output.note(_opening(plan))

    def validated(self, record: ValidationRecord) -> None:
        """A line."""
        self._per_validation = record.seconds
        self._validated += 1
        self._output.note(_validation(record))

    def note(self, message: str) -> None:
        """A line."""
        self._output.note(message)

    def _saw(self, record: StepRecord, plan: RunPlan) -> tuple[str, float]:
        """Tokens a second and FLOPs in words; seconds of the steps and validations to come."""
        # the first steps are slower than the rest: an average that forgets
        keep = 0.8 if self._seconds_per_step else 0.0
        self._seconds_per_step = keep * self._seconds_per_step + (1 - keep) * record.seconds
        speed = record.tokens / self._seconds_per_step if self._seconds_per_step > 0 else 0.0
        validations = max(0, plan.validations - self._validated)
        left = self._seconds_per_step * (plan.steps - record.step)
        spent = _spent(record.spent.of(plan.convention), plan.max_flops)
        return f"{numbers.si(speed)} tokens/s  {spent}", left + self._per_validation * validations


class PlainRun(_ShownRun):
    """An observer that writes lines: the first step, one every so often, the last step."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._pace = _Pace()

    def step(self, record: StepRecord) -> None:
        """A line, if one is due."""
        plan = self._plan
        if plan is None:
            return
        facts, left = self._saw(record, plan)
        if self._pace.due() or record.step in (plan.first_step + 1, plan.steps):
            self._output.note(
                f"step {record.step}/{plan.steps}  loss {record.loss:.4f}  {facts}"
                f"{_left(left).replace(', ', '  ', 1)}"
            )


class LiveRun(_ShownRun):
    """An observer that draws one live line: step, loss, speed, FLOPs, time left."""

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def started(self, plan: RunPlan) -> None:
        """Start to draw."""
        super().started(plan)
        self._progress = _progress(
            self._output.messages,
            TextColumn("{task.fields[facts]}", markup=False),
            # rich's own time knows of no validations
            left=TextColumn("{task.fields[left]}", markup=False),
        )
        self._task = self._progress.add_task(
            printable(plan.run), total=plan.steps, completed=plan.first_step, facts="", left=""
        )
        self._progress.start()
        self._output.on_close(self.finished)

    def step(self, record: StepRecord) -> None:
        """Draw the step."""
        if self._plan is None or self._progress is None:
            return
        facts, left = self._saw(record, self._plan)
        facts = f"loss {record.loss:.4f}  {facts}"
        self._progress.update(self._task, completed=record.step, facts=facts, left=_left(left)[2:])

    def finished(self) -> None:
        """Stop drawing; the last state stays."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class _StepTimeRemaining(TimeRemainingColumn):
    """The time left, or nothing while it is not known."""

    def render(self, task: Task):  # type: ignore[no-untyped-def]  # rich's Text
        text = super().render(task)
        if "-" in text.plain:
            text.plain = ""
        return text


def _progress(console: Console, *facts: TextColumn, left: TextColumn | None = None) -> Progress:
    narrow = console.width < 100
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        *([] if narrow and facts else [BarColumn(bar_width=20)]),
        MofNCompleteColumn(),
        *facts,
        left or _StepTimeRemaining(compact=True),
        console=console,
        transient=False,
    )


def _opening(plan: RunPlan) -> str:
    steps = plan.steps - plan.first_step
    whole = f"at most {numbers.flops(plan.flops_at_most)} FLOPs"
    if plan.validations:
        one = plan.validations == 1
        whole = f"{plan.validations} {'validation' if one else 'validations'}, {whole}"
    of_budget = f" of {numbers.flops(plan.max_flops)} allowed" if plan.max_flops is not None else ""
    goes_on = f" (after {plan.first_step} done)" if plan.first_step else ""
    return (
        f"{plan.run}: {numbers.count(steps)} {'step' if steps == 1 else 'steps'}{goes_on} of "
        f"{numbers.count(plan.tokens_per_step)} tokens, {whole}{of_budget}"
    )


def _spent(total: int, limit: int | None) -> str:
    spent = f"{numbers.flops(total)} FLOPs"
    return f"{spent} ({numbers.share(total / limit)})" if limit else spent


def _validation(record: ValidationRecord) -> str:
    mae = "" if record.mae is None else f"  forecast MAE {numbers.plain(record.mae)}"
    best = "  (best so far)" if record.helps else ""
    if record.best and not record.helps:
        best = "  (best adapter so far; the model without it was better)"
    loss = "–" if record.loss is None else f"{record.loss:.4f}"
    return f"validation at step {record.step}: loss {loss}{mae}{best}"
