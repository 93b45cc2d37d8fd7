"""`lvlora flops`: what a step costs, what a budget buys, what was spent.

Knows: which account was asked for, and how it looks. Does not know: any formula.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lvlora import numbers
from lvlora.cli.ledger_view import SHOWN, show_ledger
from lvlora.cli.program.completion import priced_models, varied_settings
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.cli.terminal.output import Output
from lvlora.errors import EXIT_FAILURE, ModelError, SettingsError
from lvlora.settings import FlopsSettings

if TYPE_CHECKING:
    from lvlora.flops.shape import ModelShape

EXAMPLES = examples(
    ("lvlora flops --seq-len 512 --rank 8", "a training step, itemised, in both conventions"),
    ("lvlora flops --budget 1e17 --vary rank=2,4,8", "what a budget buys at three ranks"),
    ("lvlora flops --ledger", "what every run of this project cost"),
    ("lvlora flops --model smollm2-135m --architecture", "sizes and parameters of a model"),
)


@settings_command(
    app,
    FlopsSettings,
    name="flops",
    epilog=EXAMPLES,
    completers={"model": priced_models, "vary": varied_settings},
)
def flops(settings: FlopsSettings, context: CommandContext) -> None:
    """Say what a step costs, what a budget buys, and what was spent.

    Two conventions stand side by side, both exact: coursework prices every elementary operation
    by fixed rules; executed counts the matrix products that this program really runs.
    """
    _check(settings)
    if settings.ledger:
        show_ledger(settings, context)
        return
    shape = _shape(settings.model, context.output)
    if context.sources.get("model") == "default":
        context.output.note(
            f"Priced for {_MODEL}, the coursework's model, which needs no weights for it; "
            "--model auto: for the model that lvlora train would take."
        )
    if settings.architecture:
        _architecture(shape, context)
    elif settings.vary is not None:
        _comparison(settings, shape, context)
    elif settings.measure:
        _measured(settings, shape, context)
    else:
        _account(settings, shape, context)


_MODEL = FlopsSettings.model_fields["model"].default


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
    for option, value in (
        ("--close", settings.close),
        ("--figure", settings.figure),
        ("--output", settings.output),
    ):
        if value is not None and not settings.ledger:
            raise SettingsError(f"{option} is about the ledger.", "Add --ledger.")
    if settings.budget == "none" and not settings.ledger:
        raise SettingsError("--budget none lifts the limit that the ledger keeps.", "Add --ledger.")


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
            ["FLOPs", *SHOWN],
            [
                ["forward", *(f"{answer[c]['forward']:,}" for c in SHOWN)],
                ["training step", *(f"{answer[c]['training_step']:,}" for c in SHOWN)],
                [
                    "same, all weights trained",
                    *(f"{full[c]['training_step']:,}" for c in SHOWN),
                ],
                [
                    f"read {settings.context} tokens",
                    *(f"{answer[c]['prefill']:,}" for c in SHOWN),
                ],
                [
                    f"write {settings.new_tokens} tokens",
                    *(f"{answer[c]['decode']:,}" for c in SHOWN),
                ],
            ],
        )
        if isinstance(settings.budget, int):
            output.line(_fits(settings, answer["fits"]))

    output.report(answer, human)
    of = "" if settings.model == _MODEL else f" --model {shlex.quote(settings.model)}"
    if not isinstance(settings.budget, int):
        output.hint(
            f"Next: lvlora flops{of} --budget 1e17 shows what a budget buys, "
            f"lvlora flops{of} --vary rank=2,4,8 compares."
        )
    else:
        output.hint(f"Next: lvlora train{of} --budget {numbers.flops(settings.budget)}")


def _by_component(answer: Mapping[str, Any]) -> list[list[object]]:
    """A row for each operation: its FLOPs over all phases of a step, and shares."""
    sums: dict[str, dict[str, int]] = {}
    for convention in SHOWN:
        for item in answer[convention]["items"]:
            costs = sums.setdefault(item["name"], dict.fromkeys(SHOWN, 0))
            costs[convention] += item["flops"]
    rows: list[list[object]] = []
    for name, costs in sums.items():
        row: list[object] = [name]
        for convention in SHOWN:
            cost = costs[convention]
            part = _part(cost / answer[convention]["training_step"])
            row += [f"{cost:,}", part] if cost else [None, None]
        rows.append(row)
    return rows


def _row(name: str, answer: Mapping[str, Any], key: str, part: float) -> list[object]:
    row: list[object] = [name]
    for convention in SHOWN:
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

    output = context.output
    rows = vary(settings, shape, shape_of=lambda model: _shape(model, output))
    heads = [rows[0]["setting"], "trainable", *(f"step, {c}" for c in SHOWN)]
    if isinstance(settings.budget, int):
        heads.append(f"steps in {numbers.flops(settings.budget)}")

    def cells(row: Mapping[str, Any]) -> list[object]:
        shown: list[object] = [row["value"], f"{row['trainable_parameters']:,}"]
        shown += [f"{row[c]['training_step']:,}" for c in SHOWN]
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
