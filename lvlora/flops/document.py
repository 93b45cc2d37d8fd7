"""The answers of `lvlora flops` as people read them."""

from __future__ import annotations

from collections import defaultdict

from lvlora import numbers
from lvlora.answers import Answer
from lvlora.flops.answers import (
    FlopsAccount,
    FlopsArchitecture,
    FlopsLedger,
    FlopsMeasure,
    FlopsVary,
)
from lvlora.flops.settings import FlopsSettings
from lvlora.report.document import Cell, Document, Section, Table


def document(answer: Answer, settings: FlopsSettings) -> Document:
    """Return the document of any answer of `lvlora flops`."""
    match answer:
        case FlopsAccount():
            return _account(answer, settings)
        case FlopsVary():
            return _variants(answer)
        case FlopsArchitecture():
            return _architecture(answer)
        case FlopsMeasure():
            return _measurements(answer)
        case FlopsLedger():
            return _ledger(answer)
    raise TypeError(type(answer))


def _account(answer: FlopsAccount, settings: FlopsSettings) -> Document:
    rules, executed, full = answer.coursework, answer.executed, answer.full_fine_tuning
    operations: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for column, convention in enumerate((rules, executed)):
        for item in convention.items:
            operations[item.name][column] += item.flops
    steps = operations["all"] = [rules.training_step, executed.training_step]
    rows = [
        [name, *_with_share(flops[0], steps[0]), *_with_share(flops[1], steps[1])]
        for name, flops in operations.items()
    ]
    sums = {
        "forward": (rules.forward, executed.forward),
        "training step": (rules.training_step, executed.training_step),
        "same, all weights trained": (full.coursework.training_step, full.executed.training_step),
        f"read {settings.context} tokens": (rules.prefill, executed.prefill),
        f"write {settings.new_tokens} tokens": (rules.decode, executed.decode),
    }
    head = ["a training step", "coursework", "share", "executed", "share"]
    sum_rows: list[list[Cell]] = [[name, f"{a:,}", f"{b:,}"] for name, (a, b) in sums.items()]
    blocks: list[Table | str] = [
        Table("", head, rows, marked=[len(rows) - 1]),
        Table("", ["FLOPs", "coursework", "executed"], sum_rows),
    ]
    fits = answer.fits
    if fits is not None:
        blocks.append(
            f"{numbers.flops(fits.budget)} FLOPs ({fits.convention}) buy {fits.steps:,} "
            f"training steps ({numbers.si(fits.tokens)} tokens),\n"
            f"or {fits.forecasts:,} forecasts of {settings.new_tokens} tokens after "
            f"{settings.context}; a step is {numbers.share(fits.share_of_a_step)} of it."
        )
    lora = (
        f"LoRA r={settings.rank} on {', '.join(settings.targets)}" if settings.rank else "no LoRA"
    )
    return Document(
        f"{answer.model}, {settings.batch_size} x {settings.seq_len} tokens, {lora}",
        [Section("", blocks)],
        lead=f"{answer.trainable_parameters:,} trainable parameters",
    )


def _variants(answer: FlopsVary) -> Document:
    head = [answer.vary[0].setting, "trainable", "step, coursework", "step, executed"]
    if answer.vary[0].fits is not None:
        head.append(f"steps in {numbers.flops(answer.vary[0].fits.budget)}")
    rows = [
        [
            one.value,
            f"{one.trainable_parameters:,}",
            f"{one.coursework.training_step:,}",
            f"{one.executed.training_step:,}",
            *([f"{one.fits.steps:,}"] if one.fits else []),
        ]
        for one in answer.vary
    ]
    return Document(answer.model, [Section("", [Table("", head, rows)])])


def _architecture(answer: FlopsArchitecture) -> Document:
    tables = [
        Table("", [name, answer.model], list(getattr(answer, name).items()))
        for name in ("architecture", "layer", "vocabulary")
    ]
    counts = [[part, f"{count:,}"] for part, count in answer.parameters.items()]
    tables.append(Table("", ["parameters", "number"], counts, marked=[len(counts) - 1]))
    return Document(answer.model, [Section("", tables)])


def _measurements(answer: FlopsMeasure) -> Document:
    head = ["FLOPs, executed", "formula", "counted", "difference"]
    rows = [
        [m.name, f"{m.analytic:,}", f"{m.measured:,}", f"{m.difference:,}"]
        for m in answer.measurements
    ]
    return Document(answer.model, [Section("", [Table("", head, rows)])])


def _ledger(answer: FlopsLedger) -> Document:
    total, budget = answer.total, answer.budget
    share = None if not budget else getattr(total, answer.convention) / budget
    rows: list[list[Cell]] = [
        [
            run.run,
            run.phase,
            run.status,
            numbers.flops(run.coursework),
            numbers.flops(run.executed),
            _share(run.share_of_budget),
            numbers.duration(run.seconds),
            numbers.si(run.tokens_useful),
        ]
        for run in answer.runs
    ]
    sums = [numbers.flops(total.coursework), numbers.flops(total.executed)]
    rows.append(["all", "", "", *sums, _share(share), "", ""])
    head = ["run", "phase", "status", "coursework", "executed", "of budget", "time", "tokens"]
    planned, settled, unsettled = (
        part.executed for part in (answer.planned, answer.settled, answer.open)
    )
    still_open = f" and {numbers.flops(unsettled)} still open" if unsettled else ""
    lines = [
        f"Exactly {total.executed:,} FLOPs executed, {total.coursework:,} coursework.",
        f"At most {numbers.flops(planned)} were planned; {numbers.flops(settled)} settled"
        f"{still_open} are charged,\n"
        f"{numbers.flops(planned - settled - unsettled)} were not needed (executed).",
    ]
    if budget:
        by = f" by lvlora {answer.budget_set_by}" if answer.budget_set_by else ""
        lines.append(
            f"Budget {budget:,} ({answer.convention}), set{by} on "
            f"{(answer.budget_set_at or '')[:10]};\n{answer.left:,} are left."
        )
    table = Table("", head, rows, marked=[len(rows) - 1])
    return Document("Ledger", [Section("", [table, "\n".join(lines)])])


def _with_share(flops: int, total: int) -> tuple[str, str] | tuple[None, None]:
    if not flops:
        return None, None
    share = flops / total
    return f"{flops:,}", "<0.1 %" if share < 0.001 else numbers.share(share)


def _share(share: float | None) -> str | None:
    return None if share is None else numbers.share(share)
