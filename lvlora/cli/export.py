"""`lvlora export ADAPTER`: merge into the base model, or rewrite as a PEFT folder."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.model.settings import ExportSettings
from lvlora.report.document import Document, Facts, Section

if TYPE_CHECKING:
    from lvlora.model.export import Export

EXAMPLES = examples(
    ("lvlora export latest --merged merged", "the newest run as a plain transformers folder"),
    ("lvlora export latest --peft adapter", "the same for peft, ready to be shared"),
    (
        "lvlora export latest --merged merged --dtype bfloat16 --overwrite",
        "half the size, rounded weights",
    ),
)

_TIED_IN_LLAMA_CPP = ("gemma", "gemma2")


@settings_command(app, ExportSettings, name="export", epilog=EXAMPLES)
def export(settings: ExportSettings, context: CommandContext) -> None:
    """Merge an adapter into its base model, or rewrite it for peft.

    A merged folder is loaded by plain transformers and read by llama.cpp's converter. It is
    loaded again before it is kept, and the largest difference of its logits is reported. A folder
    appears under its name only when it is whole.
    """
    from lvlora.model.export import export as write

    output = context.output
    exported = write(settings, output)
    answer, source = exported.answer, exported.source
    output.report(answer, lambda: _document(answer))
    merged = answer.merged
    if merged is not None and merged.untied and merged.family in _TIED_IN_LLAMA_CPP:
        output.warning(
            f"llama.cpp knows no head of its own for {merged.family}: it would lose the trained "
            "one."
        )
    if merged is not None:
        decimals = exported.info.facts.get("decimals", 2)
        written = "" if decimals == 2 else f" --decimals {decimals}"
        folder = shlex.quote(merged.folder)
        output.hint(f"Next: lvlora forecast FILE --model {folder} --adapter none{written}")
    else:
        # the adapter names a hub's or the bundled model itself
        known = source.kind in ("hub", "bundled")
        of = "" if known else f" --model {shlex.quote(source.location)}"
        adapter = shlex.quote(str(settings.peft))
        output.hint(f"Next: lvlora forecast FILE{of} --adapter {adapter}")
        output.hint(f"Its base model for peft: {source.location}")


def _document(answer: Export) -> Document:
    rows: list[tuple[str, object]] = [("adapter", answer.adapter), ("base model", answer.model)]
    if answer.peft is not None:
        folder = answer.peft.folder
        rows.append(("PEFT folder", f"{folder} ({numbers.size(answer.bytes[folder])})"))
    merged = answer.merged
    if merged is not None:
        size = numbers.size(answer.bytes[merged.folder])
        rows += [
            ("merged folder", f"{merged.folder} ({size}, {merged.dtype})"),
            ("merged layers", numbers.count(merged.layers)),
            ("head", "untied: it was trained" if merged.untied else "as in the base model"),
            (
                "largest logit difference",
                f"{merged.max_logit_difference:.2g} (logits up to {merged.largest_logit:.3g})",
            ),
        ]
    return Document("Export", [Section("", [Facts(rows)])])
