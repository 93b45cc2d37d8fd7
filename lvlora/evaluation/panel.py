"""Forecasters scored on a folder of Parquet files, each part as a file of its own.

Each part has a folder with its record and tables; the table of all parts is their mean.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.answers import NOTHING, Price
from lvlora.data.files.csv import csv_text
from lvlora.data.known import read_data
from lvlora.evaluation.answers import Evaluation, PanelEvaluation, PanelScores
from lvlora.evaluation.evaluate import TABLE, evaluate, price_bound
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.panel import Made, Panel, check_panel, portable
from lvlora.model.choice import choose
from lvlora.narrator import Narrator, Silent
from lvlora.runs import EVALUATION

_OF_ONE_FILE = ("calibrate", "calibrated", "output")
_MEANS = ("mae", "mase", "crps")


def scores_panel(settings: EvaluateSettings, narrator: Narrator) -> Panel:
    """Return the panel whose parts are scored, each into a folder.

    Raises:
        SettingsError: an option is of one file alone, or there is no folder for the results.
        ModelError: what was named is not there.
    """
    target = check_panel(settings, _OF_ONE_FILE, "out")
    choices = []
    if settings.with_model:
        choices = [
            choose(settings.with_adapter(name), settings.runs, None, narrator.note)
            for name in settings.adapter or (None,)
        ]
        names = [portable(choice, settings.model) for choice in choices]
        update: dict[str, Any] = {"adapter": tuple(name["adapter"] for name in names)}
        if "model" in names[0]:
            update["model"] = names[0]["model"]
        settings = settings.model_copy(update=update)

    def bound(source: Path) -> tuple[Price, int]:
        of_part = settings.model_copy(update={"data": source, "out": None})
        return price_bound(of_part, lambda: read_data(of_part, Silent()), Silent())

    return Panel(
        settings,
        choices,
        command=settings.command,
        target=target,
        result=EVALUATION,
        make=functools.partial(evaluate_part, type(settings)),
        price_bound=bound,
    )


def evaluate_panel(settings: EvaluateSettings, narrator: Narrator) -> PanelEvaluation:
    """Score all parts of a folder that are not there yet; see `Panel.run`.

    Raises:
        DataError: no series of a part is long enough.
    """
    panel = scores_panel(settings, narrator)
    facts = panel.run(narrator, "Scoring parts", fresh=settings.fresh)
    rows = _means([Evaluation.read(part.result.parent) for part in panel.parts])
    table = csv_text(list(PanelScores.model_fields), [list(dict(row).values()) for row in rows])
    durable.write_text(panel.target / TABLE, table)
    return PanelEvaluation(**dict(facts), forecasters=rows)


def evaluate_part(
    kind: type[EvaluateSettings], words: dict[str, Any], source: str, result: str
) -> Made:
    """Score one part into its folder; the caller reserves and charges what is spent."""
    with tempfile.TemporaryDirectory(prefix="lvlora-part-") as runs:
        settings = kind(
            **{**words, "data": source, "runs": runs, "out": Path(result).parent},
            # a finished evaluation of something else is replaced, an interrupted one goes on
            fresh=Path(result).is_file(),
        )
        evaluation = evaluate(
            settings, lambda: read_data(settings, Silent()), Silent(), has_page=False
        )
    spent = [row.flops for row in evaluation if row.kind == "model" and row.flops is not None]
    return Made(evaluation.protocol.series, sum(spent, NOTHING))


def _means(records: list[Evaluation]) -> list[PanelScores]:
    """Return the means over the parts of each forecaster, each part as heavy as its series."""
    rows: dict[str, list[tuple[int, Any]]] = {}
    for record in records:
        for row in record.forecasters:
            rows.setdefault(row.name, []).append((record.protocol.series, row))
    scores = []
    for name, of_parts in rows.items():
        n_series = sum(n for n, _ in of_parts)
        means: dict[str, float | None] = {}
        for metric in _MEANS:
            values = [(n, getattr(row, metric)) for n, row in of_parts]
            is_known = all(value is not None for _, value in values)
            means[metric] = sum(n * v for n, v in values) / n_series if is_known else None
        seconds = sum(row.seconds or 0.0 for _, row in of_parts)
        kind = of_parts[0][1].kind
        scores.append(PanelScores(name=name, kind=kind, series=n_series, **means, seconds=seconds))
    return scores
