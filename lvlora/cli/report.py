"""`lvlora report RUN`: rebuild the page of a run or an evaluation from its folder, and open it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import numbers
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.terminal.loss_chart import show_losses
from lvlora.runs import find_run_or_evaluation, is_evaluation
from lvlora.settings.report import ReportSettings

if TYPE_CHECKING:
    from lvlora.report.run.record import RunRecord

EXAMPLES = examples(
    ("lvlora report", "the page of the newest run or evaluation again, from its folder"),
    ("lvlora report runs/first --open", "a certain one's, shown in the browser"),
)


@settings_command(app, ReportSettings, name="report", epilog=EXAMPLES)
def report(settings: ReportSettings, context: CommandContext) -> None:
    """Rebuild the report of a run or an evaluation from its folder, and open it if asked.

    The page needs nothing but the folder's own files, so a stopped run has one too, and one that
    was moved keeps it.
    """
    from lvlora.report.page import PAGE

    folder = find_run_or_evaluation(settings.run, settings.runs, "RUN")
    tell = _evaluation if is_evaluation(folder) else _run
    payload, show = tell(folder, context)
    page = folder / PAGE
    opened = settings.open and _open(page)
    context.output.report({**payload, "opened": opened}, show)
    if settings.open and not opened:
        context.output.warning(f"no browser could be started: open {page.absolute()} yourself.")
    elif not settings.open:
        context.output.hint("Add --open to see it in the browser.")


def _run(folder: Path, context: CommandContext) -> tuple[dict[str, Any], Callable[[], None]]:
    from lvlora.report.run.page import draw_run
    from lvlora.report.run.record import read_run

    record = read_run(folder)
    written = draw_run(folder)
    payload = {
        "run": record.name,
        "folder": folder,
        "steps": record.steps,
        "loss": record.loss,
        "zero_shot": record.zero_shot,
        "validation": record.validation,
        "best_step": record.best_step,
        "flops": record.flops,
        "seconds": record.seconds,
        "tokens": record.tokens,
        "trainable_parameters": record.trainable_parameters,
        "files": written,
    }
    return payload, lambda: _show(record, written, context)


def _evaluation(folder: Path, context: CommandContext) -> tuple[dict[str, Any], Callable[[], None]]:
    from lvlora.report.evaluation.page import draw_evaluation, read_evaluation

    record = read_evaluation(folder)
    written = draw_evaluation(folder)
    payload = {
        "evaluation": folder.resolve().name,
        "folder": folder,
        "protocol": record["protocol"],
        "forecasters": {f["name"]: f["mae"] for f in record["forecasters"]},
        "files": written,
    }

    def show() -> None:
        rows = [(f["name"], numbers.plain(f["mae"], 3)) for f in record["forecasters"]]
        rows += [("written", str(path)) for path in written]
        context.output.table([f"Evaluation {payload['evaluation']}", "MAE"], rows)

    return payload, show


def _open(page: Path) -> bool:
    import webbrowser

    try:
        return webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False


def _show(record: RunRecord, written: list[Path], context: CommandContext) -> None:
    before, after = record.zero_shot or {}, record.validation or {}
    rows: list[tuple[str, str]] = [
        ("steps", numbers.count(record.steps)),
        ("FLOPs, executed", numbers.flops(record.flops["executed"])),
    ]
    for key, name in (("loss", "validation loss"), ("mae", "validation MAE")):
        if before.get(key) is not None and after.get(key) is not None:
            rows.append(
                (
                    name,
                    f"{numbers.plain(before[key])} before, {numbers.plain(after[key])} "
                    f"at step {record.best_step}",
                )
            )
    rows += [("written", str(path)) for path in written]
    context.output.table([f"Run {record.name}", ""], rows)
    show_losses(record.metrics, context.output)
