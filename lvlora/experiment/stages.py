"""One stage, made by its own verb: begun, or gone on with where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lvlora.errors import LvloraError
from lvlora.evaluation.evaluate import evaluate
from lvlora.experiment.answers import Found
from lvlora.experiment.plan import ZERO_SHOT, named_adapters
from lvlora.series.dataset import Dataset
from lvlora.settings.experiment import Stage
from lvlora.settings.scoring import EvaluateSettings
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep.answers import Sweep, Trial
from lvlora.sweep.narrator import SweepNarrator
from lvlora.sweep.search import run_search
from lvlora.train.fine_tune import run_training
from lvlora.train.observer import Observer
from lvlora.train.run_folder import RunFolder


def make(
    stage: Stage,
    dataset: Dataset,
    found: Mapping[str, Found],
    narrator: SweepNarrator,
    observer: Callable[[], Observer],
) -> Found:
    """Make a stage, or the rest of it.

    Args:
        found: by the stages before.
        observer: gives who watches a run.

    Raises:
        RunStopped: a signal came; everything is saved.
        BudgetError: a limit was reached before the stage was done.
        LvloraError: whatever its verb cannot do.
    """
    settings = stage.settings
    if isinstance(settings, EvaluateSettings):
        adapters = tuple(
            name if name == ZERO_SHOT else _adapter(name, found, settings.runs)
            for name in named_adapters(settings)
        )
        told = settings.model_copy(update={"adapter": adapters})
        scored = evaluate(told, lambda: dataset, narrator)
        assert scored.folder is not None
        return Found(
            folder=scored.folder,
            forecasters={row.name: row.mae for row in scored.forecasters},
        )
    if isinstance(settings, SweepSettings):
        return _sweep(stage, settings, dataset, narrator)
    return _train(stage, settings, dataset, narrator, observer())


def _adapter(name: str, found: Mapping[str, Found], runs: Path) -> str:
    stage, slash, _ = name.partition("/")
    folder = str(runs / name) if slash else found[stage].adapter
    if folder is None:
        raise LvloraError(
            f"stage {name} has no adapter: none of its trials came to an end",
            "The report in its folder says why; give the experiment another --out.",
        )
    return folder


def _train(
    stage: Stage,
    settings: TrainSettings,
    dataset: Dataset,
    narrator: SweepNarrator,
    observer: Observer,
) -> Found:
    assert settings.out is not None
    folder = RunFolder(settings.out)
    if folder.config.is_file():
        settings = settings.model_copy(update={"resume": str(folder.path)})
    made = run_training(
        settings, lambda _: dataset, sources=stage.sources, observer=observer, narrator=narrator
    )
    assert made is not None  # there is one process
    before, after = made.zero_shot, made.validation
    return Found(
        folder=str(folder.path),
        mae_before=None if before is None else before.mae,
        mae=None if after is None else after.mae,
        loss_before=None if before is None else before.loss,
        loss=None if after is None else after.loss,
        steps=made.steps,
        adapter=made.folder,
    )


def _sweep(
    stage: Stage, settings: SweepSettings, dataset: Dataset, narrator: SweepNarrator
) -> Found:
    made = run_search(settings, lambda: dataset, sources=stage.sources, narrator=narrator)
    if made.refusal is not None:
        raise made.refusal
    best, folder = chosen_trial(made), str(settings.runs / settings.study)
    if best is None:
        return Found(folder=folder)
    return Found(folder=folder, mae=best.mae, loss=best.loss, steps=best.steps, adapter=best.folder)


def chosen_trial(made: Sweep) -> Trial | None:
    """The best trial of a sweep's last stage: those before it were there to find its settings."""
    last = made.plan.stages[-1].stage
    complete = [t for t in made.table if t.stage == last and t.value is not None]
    complete = [t for t in complete if t.state == "complete"]
    return min(complete, key=lambda t: (t.value, t.trial), default=None)
