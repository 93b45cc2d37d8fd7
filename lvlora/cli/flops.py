"""`lvlora flops`: what a step costs, what a budget buys, what was spent."""

from __future__ import annotations

import shlex

import typer

from lvlora import numbers
from lvlora.answers import Answer
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.errors import EXIT_FAILURE, SettingsError
from lvlora.flops.settings import FlopsSettings

_MODEL = FlopsSettings.model_fields["model"].default

EXAMPLES = examples(
    ("lvlora flops --seq-len 512 --rank 8", "a training step, itemised, in both conventions"),
    ("lvlora flops --budget 1e17 --vary rank=2,4,8", "what a budget buys at three ranks"),
    ("lvlora flops --ledger", "what every run of this project cost"),
    ("lvlora flops --model smollm2-135m --architecture", "sizes and parameters of a model"),
)


@settings_command(app, FlopsSettings, name="flops", epilog=EXAMPLES)
def flops(settings: FlopsSettings, context: CommandContext) -> None:
    """Say what a step costs, what a budget buys, and what was spent.

    Two conventions stand side by side, both exact: coursework prices every elementary operation
    by fixed rules; executed counts the matrix products that this program really runs.
    """
    _check(settings)
    if settings.ledger:
        _ledger(settings, context)
        return
    from lvlora.flops.account import account, vary
    from lvlora.flops.answers import FlopsAccount, FlopsMeasure
    from lvlora.flops.catalogue import architecture
    from lvlora.flops.document import document
    from lvlora.model.catalogue import shape_of

    output = context.output
    shape = shape_of(settings.model)
    if context.sources.get("model") == "default":
        output.note(
            f"Priced for {_MODEL}, the coursework's model, which needs no weights for it; "
            "--model auto: for the model that lvlora train would take."
        )
    answer: Answer
    if settings.architecture:
        answer = architecture(shape)
    elif settings.vary is not None:
        answer = vary(settings, shape, shape_of)
    elif settings.measure:
        from lvlora.train.measurement import measure

        output.note(f"Counting what {shape.name} runs, on tensors without data…")
        answer = measure(settings, shape)
    else:
        answer = account(settings, shape)
    output.report(answer, lambda: document(answer, settings))
    if isinstance(answer, FlopsMeasure) and not answer.equal:
        output.warning("the formulas do not give what PyTorch counts; please report this.")
        raise typer.Exit(EXIT_FAILURE)
    if isinstance(answer, FlopsAccount):
        of = "" if settings.model == _MODEL else f" --model {shlex.quote(settings.model)}"
        if isinstance(settings.budget, int):
            output.hint(f"Next: lvlora train{of} --budget {numbers.flops(settings.budget)}")
        else:
            output.hint(
                f"Next: lvlora flops{of} --budget 1e17 shows what a budget buys, "
                f"lvlora flops{of} --vary rank=2,4,8 compares."
            )


def _ledger(settings: FlopsSettings, context: CommandContext) -> None:
    """Show what was spent; --close and --budget change it before."""
    from lvlora.flops.document import document
    from lvlora.flops.ledger import Ledger

    output = context.output
    with Ledger.for_runs(settings.runs, create=False) as ledger:
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
        table = ledger.table()
    output.report(table, lambda: document(table, settings))
    opened = [run.run for run in table.runs if run.status == "open"]
    if opened:
        usual = str(settings.runs) == "runs"
        runs = "" if usual else f" --runs {shlex.quote(str(settings.runs))}"
        output.hint(
            f"{opened[0]} is open: it runs, or it was killed and "
            f"lvlora flops --ledger{runs} --close {shlex.quote(opened[0])} settles it."
        )


def _check(settings: FlopsSettings) -> None:
    views = {
        "--architecture": settings.architecture,
        "--vary": settings.vary is not None,
        "--measure": settings.measure,
        "--ledger": settings.ledger,
    }
    chosen = [option for option, is_chosen in views.items() if is_chosen]
    if len(chosen) > 1:
        raise SettingsError(f"{' and '.join(chosen)} are different accounts.", "Choose one.")
    if settings.close is not None and not settings.ledger:
        raise SettingsError("--close is about the ledger.", "Add --ledger.")
    if settings.budget == "none" and not settings.ledger:
        raise SettingsError("--budget none lifts the limit that the ledger keeps.", "Add --ledger.")
