"""Which part, context and horizon are scored where the user left them open and the file is small.

Knows: lengths of series, settings. Does not know: forecasters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lvlora.cli.program.context import CommandContext
from lvlora.settings import BaselineSettings, EvaluateSettings

if TYPE_CHECKING:
    from lvlora.series.dataset import Dataset
    from lvlora.series.splits import Split


def fitted(
    settings: EvaluateSettings | BaselineSettings,
    context: CommandContext,
    dataset: Dataset,
    split: Split,
) -> EvaluateSettings | BaselineSettings:
    """The settings with what the data allow in place of defaults that they don't; it is said.

    One series is all there is to score, though it counts as the train part. Where every series
    is shorter than the default protocol, half of the shortest is given and half asked for. What was
    asked for by name stays, and is refused where it does not fit.
    """
    from lvlora.evaluation.protocol import steps_that_fit

    left_open = {
        name
        for name in ("split", "protocol", "context", "horizon")
        if context.sources.get(name, "default") == "default"
    }
    if "split" in left_open and len(dataset) == 1 and not split.part(settings.split):
        context.output.note(
            f"{dataset.source} has one series: it is scored itself, as --split train does."
        )
        settings = settings.model_copy(update={"split": "train"})
    names = set(split.part(settings.split)[: settings.limit])
    lengths = [len(series) for series in dataset if series.id in names]
    if not lengths or max(lengths) >= sum(settings.steps) or "protocol" not in left_open:
        return settings
    given, asked = steps_that_fit(
        min(lengths),
        None if "context" in left_open else settings.context,
        None if "horizon" in left_open else settings.horizon,
    )
    if given < 1 or asked < 1 or (given, asked) == settings.steps:
        return settings
    context.output.note(
        f"The longest series has {max(lengths):,} steps, too few for "
        f"{settings.steps[0]} and {settings.steps[1]}: "
        f"{asked} steps from {given} (--context {given} --horizon {asked})."
    )
    return settings.model_copy(update={"context": given, "horizon": asked})
