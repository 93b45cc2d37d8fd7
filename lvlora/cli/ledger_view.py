"""The ledger on a terminal: the accounting table, as CSV, as a figure, with the machine's peak.

Knows: what to show of a ledger. Does not know: prices, how a ledger is kept.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lvlora import numbers, output_files
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.results import LEDGER, check_results
from lvlora.cli.terminal.output import Output
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.series.files.formulas import csv_text
from lvlora.settings import FlopsSettings

if TYPE_CHECKING:
    from lvlora.flops.ledger import Ledger

SHOWN = ("coursework", "executed")
"""The conventions in the order of every table's columns."""


def show_ledger(settings: FlopsSettings, context: CommandContext) -> None:
    """What was spent; with the settings' --close, --budget, --measure, --figure and --output."""
    from lvlora.flops.accounting import COLUMNS
    from lvlora.flops.ledger import Ledger

    output = context.output
    check_results(
        settings,
        context,
        [("--output", settings.output, LEDGER), ("--figure", settings.figure, None)],
    )
    changing = settings.close is not None or settings.budget is not None or settings.measure
    with Ledger.for_runs(settings.runs, create=False, reading=not changing) as ledger:
        if settings.close is not None:
            charged = ledger.close(settings.close)
            output.note(
                f"{settings.close}: closed and charged {charged.executed:,} FLOPs executed, "
                f"{charged.coursework:,} coursework"
            )
        if settings.budget is not None:
            ledger.set_budget(settings.budget, settings.convention, by="flops")
            output.note(
                "There is no limit of this project any more."
                if settings.budget == "none"
                else f"From now on all runs together may spend {settings.budget:,} FLOPs "
                f"({settings.convention})."
            )
        if settings.measure:
            _measure_peaks(ledger, output)
        table = ledger.table()
    if settings.figure is not None:
        from lvlora.report.spending import draw_spending

        with output_files.writing(settings.figure) as part:
            draw_spending(table, part)
        output.note(f"Drawn into {settings.figure}")
    as_csv = csv_text(COLUMNS, [[row[name] for name in COLUMNS] for row in table["runs"]])
    if settings.output == STANDARD_OUTPUT:
        output.write(as_csv)
    else:
        if settings.output is not None:
            output_files.write_text(settings.output, as_csv)
            output.note(f"Written: {settings.output}")
        output.report(table, lambda: _ledger_table(output, table))
    opened = [run["run"] for run in table["runs"] if run["status"] == "open"]
    if opened:
        usual = str(settings.runs) == "runs"
        runs = "" if usual else f" --runs {shlex.quote(str(settings.runs))}"
        output.hint(
            f"{opened[0]} is open: it runs, or it was killed and "
            f"lvlora flops --ledger{runs} --close {shlex.quote(opened[0])} settles it."
        )


def _measure_peaks(ledger: Ledger, output: Output) -> None:
    """What this machine's matrix products reach, on the devices and dtypes that were used."""
    import torch

    from lvlora.model.devices import matrix_peak

    used = {(row.device, row.dtype) for row in ledger.rows() if row.dtype}
    for device, dtype in sorted(used):
        if device == "cuda" and not torch.cuda.is_available():
            output.note(f"{device} {dtype}: not on this machine, its peak stays as it is")
            continue
        peak = matrix_peak(device, getattr(torch, dtype))
        ledger.record_peak(device, dtype, peak)
        output.note(f"{device} {dtype}: {numbers.flops(peak)} FLOP/s in matrix products")


def _ledger_table(output: Output, table: Mapping[str, Any]) -> None:
    runs: Sequence[Mapping[str, Any]] = table["runs"]
    measured = any(run["utilisation"] is not None for run in runs)
    heads = ["run", "phase", "status", *SHOWN, "of budget", "time", "tokens"]
    rows: list[list[object]] = [
        [
            run["run"],
            run["phase"],
            run["status"],
            *(numbers.flops(run[c]) for c in SHOWN),
            None if run["share_of_budget"] is None else numbers.share(run["share_of_budget"]),
            numbers.duration(run["seconds"]),
            numbers.si(run["tokens_useful"]),
            *([_utilisation(run)] if measured else []),
        ]
        for run in runs
    ]
    total = table["total"]
    of_budget = None
    if table["budget"]:
        of_budget = numbers.share(total[table["convention"]] / table["budget"])
    rows.append(["all", "", "", *(numbers.flops(total[c]) for c in SHOWN), of_budget, "", ""])
    if measured:
        rows[-1].append("")
        heads.append("utilisation")
    output.table(heads, rows, bold=[len(rows) - 1])
    output.line(
        f"Exactly {total['executed']:,} FLOPs executed, {total['coursework']:,} coursework."
    )
    planned, settled = (table[name]["executed"] for name in ("planned", "settled"))
    unsettled = table["open"]["executed"]
    still = f" and {numbers.flops(unsettled)} still open" if unsettled else ""
    output.line(
        f"At most {numbers.flops(planned)} were planned; {numbers.flops(settled)} settled{still} "
        f"are charged,\n{numbers.flops(planned - settled - unsettled)} were not needed (executed)."
    )
    if table["budget"]:
        by = f" by lvlora {table['budget_set_by']}" if table["budget_set_by"] else ""
        output.line(
            f"Budget {table['budget']:,} ({table['convention']}), set{by} on "
            f"{table['budget_set_at'][:10]};\n{table['left']:,} are left."
        )


def _utilisation(run: Mapping[str, Any]) -> str | None:
    return None if run["utilisation"] is None else numbers.share(run["utilisation"])
