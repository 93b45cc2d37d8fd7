"""`lvlora flops`: what a step costs, what a budget buys, what was spent.

Knows: which account was asked for, and how it looks. Does not know: any formula.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lvlora.cli import numbers
from lvlora.cli.completion import priced_models
from lvlora.cli.context import CommandContext
from lvlora.cli.from_settings import examples, settings_command
from lvlora.cli.output import Output
from lvlora.cli.root import app
from lvlora.errors import EXIT_FAILURE, ModelError, SettingsError
from lvlora.settings import FlopsSettings

if TYPE_CHECKING:
    from lvlora.flops.ledger import Ledger
    from lvlora.flops.shape import ModelShape

EXAMPLES = examples(
    ("lvlora flops --seq-len 512 --rank 8", "a training step, itemised, in both conventions"),
    ("lvlora flops --budget 1e17 --vary rank=2,4,8", "what a budget buys at three ranks"),
    ("lvlora flops --ledger", "what every run of this project cost"),
    ("lvlora flops --model smollm2-135m --architecture", "sizes and parameters of a model"),
)

_CONVENTIONS = ("coursework", "executed")


@settings_command(
    app, FlopsSettings, name="flops", epilog=EXAMPLES, completers={"model": priced_models}
)
def flops(settings: FlopsSettings, context: CommandContext) -> None:
    """Say what a step costs, what a budget buys, and what was spent.

    Two conventions stand side by side, both exact: coursework prices every elementary operation
    by fixed rules; executed counts the matrix products that this program really runs.
    """
    _check(settings)
    if settings.ledger:
        _ledger(settings, context)
        return
    shape = _shape(settings.model, context.output)
    if settings.architecture:
        _architecture(shape, context)
    elif settings.vary is not None:
        _comparison(settings, shape, context)
    elif settings.measure:
        _measured(settings, shape, context)
    else:
        _account(settings, shape, context)


def _check(settings: FlopsSettings) -> None:
    asked = {
        "--architecture": settings.architecture,
        "--vary": settings.vary is not None,
        # with --ledger it measures the machine
        "--measure": settings.measure and not settings.ledger,
        "--ledger": settings.ledger,
    }
    views = [option for option, is_asked in asked.items() if is_asked]
    if len(views) > 1:
        raise SettingsError(f"{' and '.join(views)} are different accounts.", "Ask for one.")
    for option, value in (("--close", settings.close), ("--figure", settings.figure)):
        if value is not None and not settings.ledger:
            raise SettingsError(f"{option} is about the ledger.", "Add --ledger.")


def _shape(model: str, output: Output) -> ModelShape:
    """The model's shape: known by name, from a config.json, or from the local hub cache."""
    from lvlora.flops.catalogue import find_shape
    from lvlora.flops.shape import ModelShape

    if Path(model).suffix.lower() == ".gguf":
        raise ModelError(
            f"{model}: the shape of a .gguf file is not read here",
            "Give the model's short name, or a folder with its config.json.",
        )
    if model in ("auto", "bundled"):
        from lvlora.model.catalogue import resolve

        source = resolve(model)
        if source.note:
            output.note(source.note)
        if source.kind == "bundled":
            return dataclasses.replace(find_shape(source.location), name=source.name)
        model = source.name
    try:
        return find_shape(model)
    except ModelError:
        if "/" not in model:
            raise
        from lvlora.model.catalogue import read_config, resolve

        config = read_config(resolve(model))
        if config is None:
            raise
        return ModelShape.from_config(config, name=model)


def _account(settings: FlopsSettings, shape: ModelShape, context: CommandContext) -> None:
    from lvlora.flops.account import account

    answer = account(settings, shape)
    output = context.output

    def human() -> None:
        lora = (
            f"LoRA r={settings.rank} on {', '.join(settings.targets)}"
            if settings.rank
            else "no LoRA"
        )
        output.line(
            f"{shape.name}, {settings.batch_size} x {settings.seq_len} tokens, {lora}:\n"
            f"{answer['trainable_parameters']:,} trainable parameters"
        )
        output.line()
        output.table(
            ["a training step", "coursework", "share", "executed", "share"],
            [*_by_component(answer), _row("all", answer, "training_step", 1.0)],
            bold=[len(_by_component(answer))],
        )
        full = answer["full_fine_tuning"]
        output.table(
            ["FLOPs", *_CONVENTIONS],
            [
                ["forward", *(f"{answer[c]['forward']:,}" for c in _CONVENTIONS)],
                ["training step", *(f"{answer[c]['training_step']:,}" for c in _CONVENTIONS)],
                [
                    "same, all weights trained",
                    *(f"{full[c]['training_step']:,}" for c in _CONVENTIONS),
                ],
                [
                    f"read {settings.context} tokens",
                    *(f"{answer[c]['prefill']:,}" for c in _CONVENTIONS),
                ],
                [
                    f"write {settings.new_tokens} tokens",
                    *(f"{answer[c]['decode']:,}" for c in _CONVENTIONS),
                ],
            ],
        )
        if settings.budget is not None:
            output.line(_fits(settings, answer["fits"]))

    output.report(answer, human)
    if settings.budget is None:
        output.hint("Next: --budget 1e17 shows what a budget buys, --vary rank=2,4,8 compares.")
    else:
        output.hint(f"Next: lvlora train --budget {numbers.flops(settings.budget)}")


def _by_component(answer: Mapping[str, Any]) -> list[list[object]]:
    """A row for each operation: its FLOPs over all phases of a step, and shares."""
    sums: dict[str, dict[str, int]] = {}
    for convention in _CONVENTIONS:
        for item in answer[convention]["items"]:
            costs = sums.setdefault(item["name"], dict.fromkeys(_CONVENTIONS, 0))
            costs[convention] += item["flops"]
    rows: list[list[object]] = []
    for name, costs in sums.items():
        row: list[object] = [name]
        for convention in _CONVENTIONS:
            cost = costs[convention]
            part = _part(cost / answer[convention]["training_step"])
            row += [f"{cost:,}", part] if cost else [None, None]
        rows.append(row)
    return rows


def _row(name: str, answer: Mapping[str, Any], key: str, part: float) -> list[object]:
    row: list[object] = [name]
    for convention in _CONVENTIONS:
        row += [f"{answer[convention][key]:,}", _part(part)]
    return row


def _part(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.001 else numbers.share(share)


def _fits(settings: FlopsSettings, fits: Mapping[str, Any]) -> str:
    return (
        f"{numbers.flops(fits['budget'])} FLOPs ({fits['convention']}) buy {fits['steps']:,} "
        f"training steps ({numbers.si(fits['tokens'])} tokens),\n"
        f"or {fits['forecasts']:,} forecasts of {settings.new_tokens} tokens after "
        f"{settings.context}; a step is {numbers.share(fits['share_of_a_step'])} of it."
    )


def _comparison(settings: FlopsSettings, shape: ModelShape, context: CommandContext) -> None:
    from lvlora.flops.account import vary

    rows = vary(settings, shape)
    output = context.output
    heads = [rows[0]["setting"], "trainable", *(f"step, {c}" for c in _CONVENTIONS)]
    heads += [f"steps in {numbers.flops(settings.budget)}"] if settings.budget is not None else []

    def cells(row: Mapping[str, Any]) -> list[object]:
        shown: list[object] = [row["value"], f"{row['trainable_parameters']:,}"]
        shown += [f"{row[c]['training_step']:,}" for c in _CONVENTIONS]
        return shown + ([f"{row['fits']['steps']:,}"] if row["fits"] else [])

    output.report(
        {"model": shape.name, "vary": rows},
        lambda: output.table(heads, [cells(row) for row in rows], title=shape.name),
    )


def _architecture(shape: ModelShape, context: CommandContext) -> None:
    from lvlora.flops.catalogue import architecture_table

    tables, parameters = architecture_table(shape), shape.parameter_count()
    output = context.output

    def human() -> None:
        for name, rows in tables.items():
            output.table([name, shape.name], rows)
        counts = [[part, f"{count:,}"] for part, count in parameters.items()]
        output.table(["parameters", "number"], counts, bold=[len(counts) - 1])

    payload = {
        "model": shape.name,
        **{name: dict(rows) for name, rows in tables.items()},
        "parameters": parameters,
    }
    output.report(payload, human)


def _measured(settings: FlopsSettings, shape: ModelShape, context: CommandContext) -> None:
    from lvlora.flops.trainable import Lora
    from lvlora.train.measurement import measure

    output = context.output
    output.note(f"Counting what {shape.name} runs, on tensors without data…")
    found = measure(
        shape,
        settings.batch_size,
        settings.seq_len,
        Lora.of(settings.rank, settings.targets),
        loss=settings.loss,
        train_head=settings.train_head,
        context=settings.context,
    )
    equal = all(measurement.difference == 0 for measurement in found)
    rows = [[m.name, f"{m.analytic:,}", f"{m.measured:,}", f"{m.difference:,}"] for m in found]
    output.report(
        {
            "model": shape.name,
            "equal": equal,
            "measurements": [measurement.as_dict() for measurement in found],
        },
        lambda: output.table(["FLOPs, executed", "formula", "counted", "difference"], rows),
    )
    if not equal:
        output.warning("the formulas do not give what PyTorch counts; please report this.")
        raise typer.Exit(EXIT_FAILURE)


def _ledger(settings: FlopsSettings, context: CommandContext) -> None:
    from lvlora.flops.ledger import Ledger

    output = context.output
    with Ledger.for_runs(settings.runs, create=False) as ledger:
        if settings.close is not None:
            charged = ledger.close(settings.close)
            output.note(
                f"{settings.close}: closed and charged {charged.executed:,} FLOPs executed, "
                f"{charged.coursework:,} coursework"
            )
        if settings.measure:
            _measure_peaks(ledger, output)
        table = ledger.table()
    if settings.figure is not None:
        from lvlora.report.spending import draw_spending

        draw_spending(table, settings.figure)
        output.note(f"Drawn into {settings.figure}")
    output.report(table, lambda: _ledger_table(output, table))
    opened = [run["run"] for run in table["runs"] if run["status"] == "open"]
    if opened:
        output.hint(
            f"{opened[0]} is open: it runs, or it was killed and "
            f"lvlora flops --ledger --close {opened[0]} settles it."
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
    heads = ["run", "phase", "status", *_CONVENTIONS, "of budget", "time", "tokens"]
    rows: list[list[object]] = [
        [
            run["run"],
            run["phase"],
            run["status"],
            *(numbers.flops(run[c]) for c in _CONVENTIONS),
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
    rows.append(
        ["all", "", "", *(numbers.flops(total[c]) for c in _CONVENTIONS), of_budget, "", ""]
    )
    if measured:
        rows[-1].append("")
        heads.append("utilisation")
    output.table(heads, rows, bold=[len(rows) - 1])
    output.line(
        f"Exactly {total['executed']:,} FLOPs executed, {total['coursework']:,} coursework."
    )
    if table["budget"]:
        output.line(
            f"Budget {table['budget']:,} ({table['convention']}); {table['left']:,} are left."
        )


def _utilisation(run: Mapping[str, Any]) -> str | None:
    return None if run["utilisation"] is None else numbers.share(run["utilisation"])
