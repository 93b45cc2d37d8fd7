"""Price stages of an experiment before the first of them begins; no weights are opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from lvlora import numbers
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.errors import SettingsError, meant
from lvlora.evaluation.job import prepare as prepare_evaluation
from lvlora.evaluation.scores import Scoring
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.record import StageRecord
from lvlora.experiment.settings import Stage
from lvlora.flops.rows import Row
from lvlora.forecast.estimate import FORECASTING, ledger_rate
from lvlora.forecast.plan import DEFAULT_DECIMALS, OutlinedModel
from lvlora.forecast.pricing import updates_of
from lvlora.model import devices
from lvlora.model.catalogue import resolve
from lvlora.model.loading import Outline, outline
from lvlora.narrator import Silent
from lvlora.sweep.plan import points_to_price
from lvlora.sweep.record import shared_settings
from lvlora.sweep.search import prepare as prepare_search
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import with_params
from lvlora.train.plan import Plan, plan_run
from lvlora.train.settings import TrainSettings

ZERO_SHOT = "none"
"""The adapter of a model without one."""

Adapters = dict[str, list[OutlinedModel]]
"""Stage → how its adapter may forecast: one way after a training, several after a sweep."""


def price_stages(
    stages: Sequence[Stage], dataset: Dataset, entries: Sequence[Row]
) -> list[StageRecord]:
    """Price every stage, in their order, as each depends on the adapters of those before.

    Args:
        entries: of the ledger, whose last such work has the rate of a stage.

    Raises:
        SettingsError: a stage names an adapter that no stage before it leaves.
        BudgetError: one does not fit into a limit of its own.
        LvloraError: as the commands, before their first step.
    """
    one = stages[0].settings  # all have its model, device and dtype
    devices.set_threads(one.threads)
    base = outline(resolve(one.model, one.revision), devices.choose(one.device, one.dtype))
    adapters: Adapters = {}
    scored: list[tuple[object, ...]] = []
    planned = []
    for stage in stages:
        settings = stage.settings
        alike = FORECASTING if stage.command == "evaluate" else ("train",)
        if isinstance(settings, TrainSettings):
            run = plan_run(settings, dataset)
            adapters[stage.name] = [_forecasting(run)]
            steps, tokens = numbers.count(run.n_steps), numbers.count(run.tokens_per_step)
            what, at_most = f"{steps} steps of {tokens} tokens", run.at_most()
        elif isinstance(settings, SweepSettings):
            what, at_most, adapters[stage.name] = _price_sweep(stage, settings, dataset)
        else:
            models = _scored_models(stage.name, settings, adapters, base)
            what, at_most = _price_evaluation(settings, dataset, models, scored)
        rate = ledger_rate(entries, alike, base)
        planned.append(
            StageRecord(
                name=stage.name,
                command=stage.command,
                what=what,
                flops_at_most=at_most,
                seconds=rate and at_most.executed / rate,
            )
        )
    return planned


def _price_sweep(
    stage: Stage, settings: SweepSettings, dataset: Dataset
) -> tuple[str, Price, list[OutlinedModel]]:
    if settings.max_flops is None and settings.max_steps is None:
        raise SettingsError(
            f"stage {stage.name}: says neither max_flops nor max_steps",
            "Without them a sweep would take all of the budget.",
        )
    _, study = prepare_search(settings, lambda: dataset, stage.sources, Silent(), None)
    plan = study.plan
    base = shared_settings(settings, plan).model_copy(update={"max_steps": 1})
    # its adapter is one of its last part's; only these settings change how it forecasts
    trials = {
        (trial.rank, trial.targets, trial.layers, trial.decimals): trial
        for trial in (with_params(base, point) for point in points_to_price(plan.stages))
    }
    parts = ", ".join(f"{part.trials} {part.stage}" for part in plan.stages)
    adapters = [_forecasting(plan_run(trial, dataset)) for trial in trials.values()]
    return f"{plan.trials} trials ({parts})", plan.flops_at_most, adapters


def _price_evaluation(
    settings: EvaluateSettings,
    dataset: Dataset,
    models: Sequence[Sequence[OutlinedModel]],
    scored: list[tuple[object, ...]],
) -> tuple[str, Price]:
    """Return the work in words, and the most that it costs.

    Args:
        models: how each may forecast.
        scored: gets each model without an adapter, whose forecasts cost nothing a second time.
    """
    job = prepare_evaluation(settings, dataset, Silent(), has_folder=False)
    most = NOTHING
    for alternatives in models:
        forecasts = (job.folder.key, job.sampling, alternatives[0])
        if alternatives[0].updates or forecasts not in scored:
            scored.append(forecasts)
            bounds = (Scoring(plan, job.task, job.sampling).price_bound for plan in alternatives)
            most += reduce(or_, bounds)
    futures = "greedy" if job.sampling.greedy else f"{job.sampling.samples} futures each"
    rivals = " and the rivals" if job.settings.rivals else ""
    what = f"{len(models)} model{'' if len(models) == 1 else 's'}{rivals}"
    return f"{what}, {len(job.task.histories)} series of {job.settings.split}, {futures}", most


def _scored_models(
    stage: str,
    settings: EvaluateSettings,
    adapters: Mapping[str, list[OutlinedModel]],
    base: Outline,
) -> list[list[OutlinedModel]]:
    """Return how each model of an evaluation may forecast: with adapters, then without.

    Raises:
        SettingsError: no stage before leaves a named adapter.
    """
    if not settings.with_model:
        return []
    models: list[list[OutlinedModel]] = []
    without: dict[int, OutlinedModel] = {}
    for name in settings.adapter or (ZERO_SHOT,):
        source = name.partition("/")[0]  # search/trial-0003
        if name == ZERO_SHOT:
            format_ = base.number_format
            plans = [OutlinedModel(base, decimals=DEFAULT_DECIMALS, number_format=format_)]
        elif source in adapters:
            plans = adapters[source]
        else:
            raise SettingsError(
                f"adapter {name} of stage {stage}: is no training or sweep before it",
                f"{meant(name, adapters)}There are {', '.join([*adapters, ZERO_SHOT])}.",
            )
        plans = [replace(plan, max_memory=settings.max_memory) for plan in plans]
        if settings.decimals is not None:
            plans = [replace(plan, decimals=settings.decimals) for plan in plans]
        if name != ZERO_SHOT:
            models.append(plans)
        if name == ZERO_SHOT or settings.zero_shot:
            for plan in plans:
                without.setdefault(plan.decimals, replace(plan, updates=(), scale=None))
    return [*models, *([plan] for plan in without.values())]


def _forecasting(plan: Plan) -> OutlinedModel:
    """Return how the adapter of a run forecasts."""
    trained = plan.trained
    return OutlinedModel(
        plan.model,
        updates_of(trained.lora, trained.shape),
        decimals=plan.settings.decimals,
        number_format=plan.windows.codec.number_format,
        scale=plan.windows.scale,
    )
