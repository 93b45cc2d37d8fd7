"""The tables of `lvlora flops`: an account, several side by side, a model, the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.terminal.output import Output
from lvlora.settings.data import FlopsSettings

if TYPE_CHECKING:
    from lvlora.flops.answers import (
        Fits,
        FlopsAccount,
        FlopsArchitecture,
        FlopsLedger,
        FlopsMeasure,
        FlopsVary,
        LedgerRow,
    )

_SHOWN = ("coursework", "executed")
"""The conventions in the order of every table's columns."""


def show_account(answer: FlopsAccount, settings: FlopsSettings, output: Output) -> None:
    """A step by its operations, what a forecast costs, and what fits into a budget."""
    lora = (
        f"LoRA r={settings.rank} on {', '.join(settings.targets)}" if settings.rank else "no LoRA"
    )
    output.line(
        f"{answer.model}, {settings.batch_size} x {settings.seq_len} tokens, {lora}:\n"
        f"{answer.trainable_parameters:,} trainable parameters"
    )
    output.line()
    components = _by_component(answer)
    whole: list[object] = ["all"]
    for cost in (answer.coursework.training_step, answer.executed.training_step):
        whole += [f"{cost:,}", _part(1.0)]
    output.table(
        ["a training step", "coursework", "share", "executed", "share"],
        [*components, whole],
        bold=[len(components)],
    )
    rules, runs, full = answer.coursework, answer.executed, answer.full_fine_tuning
    pairs = [
        ("forward", rules.forward, runs.forward),
        ("training step", rules.training_step, runs.training_step),
        (
            "same, all weights trained",
            full.coursework.training_step,
            full.executed.training_step,
        ),
        (f"read {settings.context} tokens", rules.prefill, runs.prefill),
        (f"write {settings.new_tokens} tokens", rules.decode, runs.decode),
    ]
    output.table(["FLOPs", *_SHOWN], [[name, f"{a:,}", f"{b:,}"] for name, a, b in pairs])
    if answer.fits is not None:
        output.line(_fits(settings, answer.fits))


def show_variants(answer: FlopsVary, settings: FlopsSettings, output: Output) -> None:
    """A row for each value of the setting that varies."""
    heads = [answer.vary[0].setting, "trainable", *(f"step, {c}" for c in _SHOWN)]
    if isinstance(settings.budget, int):
        heads.append(f"steps in {numbers.flops(settings.budget)}")
    rows: list[list[object]] = [
        [
            one.value,
            f"{one.trainable_parameters:,}",
            f"{one.coursework.training_step:,}",
            f"{one.executed.training_step:,}",
            *([f"{one.fits.steps:,}"] if one.fits else []),
        ]
        for one in answer.vary
    ]
    output.table(heads, rows, title=answer.model)


def show_architecture(answer: FlopsArchitecture, output: Output) -> None:
    """Three tables of a model, and its parameters."""
    for name in ("architecture", "layer", "vocabulary"):
        output.table([name, answer.model], list(getattr(answer, name).items()))
    counts = [[part, f"{count:,}"] for part, count in answer.parameters.items()]
    output.table(["parameters", "number"], counts, bold=[len(counts) - 1])


def show_measurements(answer: FlopsMeasure, output: Output) -> None:
    """Formula and count side by side."""
    output.table(
        ["FLOPs, executed", "formula", "counted", "difference"],
        [
            [m.name, f"{m.analytic:,}", f"{m.measured:,}", f"{m.difference:,}"]
            for m in answer.measurements
        ],
    )


def show_ledger(table: FlopsLedger, output: Output) -> None:
    """What every run cost, what was planned, and what is left of the budget."""
    measured = any(run.utilisation is not None for run in table.runs)
    heads = ["run", "phase", "status", *_SHOWN, "of budget", "time", "tokens"]
    rows: list[list[object]] = [
        [
            run.run,
            run.phase,
            run.status,
            numbers.flops(run.coursework),
            numbers.flops(run.executed),
            None if run.share_of_budget is None else numbers.share(run.share_of_budget),
            numbers.duration(run.seconds),
            numbers.si(run.tokens_useful),
            *([_utilisation(run)] if measured else []),
        ]
        for run in table.runs
    ]
    total = table.total
    of_budget = None
    if table.budget:
        of_budget = numbers.share(getattr(total, table.convention) / table.budget)
    sums = [numbers.flops(total.coursework), numbers.flops(total.executed)]
    rows.append(["all", "", "", *sums, of_budget, "", ""])
    if measured:
        rows[-1].append("")
        heads.append("utilisation")
    output.table(heads, rows, bold=[len(rows) - 1])
    output.line(f"Exactly {total.executed:,} FLOPs executed, {total.coursework:,} coursework.")
    planned, settled, unsettled = (
        part.executed for part in (table.planned, table.settled, table.open)
    )
    still = f" and {numbers.flops(unsettled)} still open" if unsettled else ""
    output.line(
        f"At most {numbers.flops(planned)} were planned; {numbers.flops(settled)} settled{still} "
        f"are charged,\n{numbers.flops(planned - settled - unsettled)} were not needed (executed)."
    )
    if table.budget:
        by = f" by lvlora {table.budget_set_by}" if table.budget_set_by else ""
        on = (table.budget_set_at or "")[:10]
        output.line(
            f"Budget {table.budget:,} ({table.convention}), set{by} on {on};\n"
            f"{table.left:,} are left."
        )


def _by_component(answer: FlopsAccount) -> list[list[object]]:
    """A row for each operation: its FLOPs over all phases of a step, and shares."""
    rules, runs = answer.coursework, answer.executed
    sums: dict[str, list[int]] = {}
    for index, items in enumerate((rules.items, runs.items)):
        for item in items:
            sums.setdefault(item.name, [0, 0])[index] += item.flops
    rows: list[list[object]] = []
    for name, costs in sums.items():
        row: list[object] = [name]
        for cost, whole in zip(costs, (rules.training_step, runs.training_step), strict=True):
            row += [f"{cost:,}", _part(cost / whole)] if cost else [None, None]
        rows.append(row)
    return rows


def _part(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.001 else numbers.share(share)


def _fits(settings: FlopsSettings, fits: Fits) -> str:
    return (
        f"{numbers.flops(fits.budget)} FLOPs ({fits.convention}) buy {fits.steps:,} "
        f"training steps ({numbers.si(fits.tokens)} tokens),\n"
        f"or {fits.forecasts:,} forecasts of {settings.new_tokens} tokens after "
        f"{settings.context}; a step is {numbers.share(fits.share_of_a_step)} of it."
    )


def _utilisation(run: LedgerRow) -> str | None:
    return None if run.utilisation is None else numbers.share(run.utilisation)
