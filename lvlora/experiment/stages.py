"""One stage, made by its own verb: begun, or gone on with where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lvlora.errors import LvloraError
from lvlora.evaluation.evaluate import evaluate
from lvlora.experiment.answers import Result
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
    results: Mapping[str, Result],
    narrator: SweepNarrator,
    observer: Callable[[], Observer],
) -> Result:
    """Make a stage, or the rest of it.

    Args:
        results: of the stages before.
        observer: gives who watches a run.

    Raises:
        RunStopped: a signal came; everything is saved.
        BudgetError: a limit was reached before the stage was done.
        LvloraError: whatever its verb cannot do.
    """
    settings = stage.settings
    if isinstance(settings, EvaluateSettings):
        adapters = tuple(
            name if name == ZERO_SHOT else _adapter(name, results, settings.runs)
            for name in named_adapters(settings)
        )
        resolved = settings.model_copy(update={"adapter": adapters})
        scores = evaluate(resolved, lambda: dataset, narrator)
        assert scores.folder is not None
        maes = {row.name: row.mae for row in scores.forecasters}
        return Result(folder=scores.folder, forecasters=maes)
    if isinstance(settings, SweepSettings):
        return _sweep(stage, settings, dataset, narrator)
    return _train(stage, settings, dataset, narrator, observer())


def _adapter(name: str, results: Mapping[str, Result], runs: Path) -> str:
    stage, slash, _ = name.partition("/")
    folder = str(runs / name) if slash else results[stage].adapter
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
) -> Result:
    assert settings.out is not None
    folder = RunFolder(settings.out)
    if folder.config.is_file():
        settings = settings.model_copy(update={"resume": str(folder.path)})
    run = run_training(
        settings, lambda _: dataset, sources=stage.sources, observer=observer, narrator=narrator
    )
    assert run is not None  # there is one process
    before, after = run.zero_shot, run.validation
    return Result(
        folder=str(folder.path),
        mae_before=None if before is None else before.mae,
        mae=None if after is None else after.mae,
        loss_before=None if before is None else before.loss,
        loss=None if after is None else after.loss,
        steps=run.steps,
        adapter=run.folder,
    )


def _sweep(
    stage: Stage, settings: SweepSettings, dataset: Dataset, narrator: SweepNarrator
) -> Result:
    search = run_search(settings, lambda: dataset, sources=stage.sources, narrator=narrator)
    if search.refusal is not None:
        raise search.refusal
    best, folder = chosen_trial(search), str(settings.runs / settings.study)
    if best is None:
        return Result(folder=folder)
    return Result(
        folder=folder, mae=best.mae, loss=best.loss, steps=best.steps, adapter=best.folder
    )


def chosen_trial(search: Sweep) -> Trial | None:
    """Return the best trial of a sweep's last stage: earlier ones only choose its settings."""
    last = search.plan.stages[-1].stage
    complete = [t for t in search.table if t.stage == last and t.state == "complete"]
    valued = [t for t in complete if t.value is not None]
    return min(valued, key=lambda t: (t.value, t.trial), default=None)
