"""`lvlora report RUN`: rebuild a run's page from its folder, and open it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.cli import numbers
from lvlora.cli.completion import runs as complete_runs
from lvlora.cli.context import CommandContext
from lvlora.cli.from_settings import examples, settings_command
from lvlora.cli.root import app
from lvlora.cli.runs import find_run
from lvlora.settings.report import ReportSettings

if TYPE_CHECKING:
    from lvlora.report.run_record import RunRecord

EXAMPLES = examples(
    ("lvlora report", "the newest run's page again, from its folder"),
    ("lvlora report runs/first --open", "a certain run's, shown in the browser"),
)


@settings_command(
    app, ReportSettings, name="report", epilog=EXAMPLES, completers={"run": complete_runs}
)
def report(settings: ReportSettings, context: CommandContext) -> None:
    """Rebuild a run's report from its folder, and open it if asked.

    The page needs nothing but the run's own files, so a stopped run has one too, and one that was
    moved keeps it.
    """
    from lvlora.report.run_page import PAGE, draw_run
    from lvlora.report.run_record import read_run

    folder = find_run(settings.run, settings.runs, "RUN")
    record = read_run(folder)
    written = draw_run(folder)
    page = folder / PAGE
    opened = settings.open and _open(page)
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
        "opened": opened,
    }
    context.output.report(payload, lambda: _show(record, written, context))
    if settings.open and not opened:
        context.output.warning(f"no browser could be started: open {page.absolute()} yourself.")
    elif not settings.open:
        context.output.hint("Add --open to see it in the browser.")


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
