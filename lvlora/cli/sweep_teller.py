"""What is said while a sweep runs, and what is written into its trials' folders.

Knows: sentences, the files of a run. Does not know: which trial is next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.context import CommandContext
from lvlora.settings import TrainSettings

if TYPE_CHECKING:
    from lvlora.sweep.attempts import Attempt
    from lvlora.sweep.space import Params
    from lvlora.sweep.study import Board
    from lvlora.train.observer import Observer
    from lvlora.train.run import Result
    from lvlora.train.run_folder import RunFolder
    from lvlora.train.setup import Prepared


class Teller:
    """Says what a sweep does, and writes what belongs into a run's folder."""

    def __init__(self, context: CommandContext, board: Board) -> None:
        self.context = context
        self.board = board
        self._waited = False
        self._params: Params = {}

    def observer(self) -> Observer:
        """As `lvlora train` is watched."""
        from lvlora.cli.terminal.progress import observer

        return observer(self.context.output)

    def began(self, slot: int, stage: str, params: Params) -> None:
        """A line."""
        from lvlora.sweep.space import show

        self._waited, self._params = False, params
        chosen = ", ".join(f"{name.replace('_', ' ')} {show(v)}" for name, v in params.items())
        self.context.output.note(f"Trial {slot} ({stage}): {chosen}")

    def ended(self, record: Attempt) -> None:
        """A line."""
        best = self.board.best()
        self.context.output.note(sentence(record, best is not None and best.slot == record.slot))

    def recovered(self, attempt: Attempt) -> None:
        """A line."""
        self.context.output.note(f"Trial {attempt.slot} was left unfinished; it is made again.")

    def waiting(self) -> None:
        """A line, once."""
        if not self._waited:
            self._waited = True
            self.context.output.note("Waiting for the trials of other processes.")

    def describe(self, folder: RunFolder, settings: TrainSettings, prepared: Prepared) -> None:
        """Where each value came from is said, too."""
        from lvlora.sweep.space import ALPHA_PER_RANK
        from lvlora.train.fine_tune import write_settings

        given = self.context.sources
        planned = {*self._params, "max_steps", "max_flops", "save_every"}
        for name in ("validation_series", "validate_every"):
            if given.get(name, "default") == "default" and getattr(settings, name) is not None:
                planned.add(name)
        if ALPHA_PER_RANK in planned:
            planned.add("alpha")
        sources = {
            name: "sweep" if name in planned else given.get(name, "default")
            for name in TrainSettings.model_fields
        }
        write_settings(folder, settings, sources, prepared)

    def draw(self, folder: RunFolder, prepared: Prepared, result: Result) -> None:
        """The trial's own figure and page."""
        from lvlora.report.run.page import draw_run

        draw_run(folder.path)


def sentence(record: Attempt, is_best: bool) -> str:
    """How a trial ended."""
    if record.state == "failed":
        return f"Trial {record.slot} failed: {record.end.get('reason')}"
    name = "MAE" if record.value == record.end.get("mae") else "loss"
    how = "ended early, " if record.state == "pruned" else ""
    best = "  (best so far)" if is_best else ""
    return f"Trial {record.slot}: {how}validation {name} {numbers.plain(record.value)}{best}"
