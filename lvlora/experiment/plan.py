"""Stages of an experiment with their prices; no weights are opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lvlora import numbers
from lvlora.errors import SettingsError, meant
from lvlora.evaluation.folder import Pieces
from lvlora.evaluation.job import Job, check, prepare
from lvlora.evaluation.scores import at_most
from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.rows import Row
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.plan import Plan as ForecastPlan
from lvlora.forecast.pricing import updates_of
from lvlora.model import devices
from lvlora.model.catalogue import resolve
from lvlora.model.loading import Outline, outline
from lvlora.narrator import Silent
from lvlora.series.dataset import Dataset
from lvlora.settings.experiment import Stage, StageSettings
from lvlora.settings.scoring import EvaluateSettings
from lvlora.settings.training import SweepSettings
from lvlora.sweep.plan import SearchPlan, points_to_price
from lvlora.sweep.results import shared_settings
from lvlora.sweep.search import laid_out
from lvlora.sweep.space import with_params
from lvlora.train.plan import Plan, plan_run

ZERO_SHOT = "none"
"""The adapter of a model without one."""


@dataclass(frozen=True)
class Planned:
    """A stage with its price.

    Attributes:
        what: steps, trials or series, in words.
        at_most: the most that it costs.
        job, models: of an evaluation: what is scored, and how each of its models forecasts that no
            stage before it has scored.
        adapters: how an adapter that it leaves may forecast, for evaluations after it.
    """

    stage: Stage
    what: str
    at_most: Price
    job: Job | None = None
    models: tuple[ForecastPlan, ...] = ()
    adapters: tuple[ForecastPlan, ...] = ()


def plan_stages(stages: Sequence[Stage], dataset: Dataset) -> tuple[Planned, ...]:
    """Price every stage, in their order.

    Raises:
        SettingsError: a stage asks for what is not there.
        BudgetError: one does not fit into a limit of its own.
        LvloraError: as the commands, before their first step.
    """
    planned: dict[str, Planned] = {}
    for stage in stages:
        settings = stage.settings
        if isinstance(settings, EvaluateSettings):
            planned[stage.name] = _evaluation(stage, settings, dataset, planned)
        elif isinstance(settings, SweepSettings):
            planned[stage.name] = _sweep(stage, settings, dataset)
        else:
            plan = plan_run(settings, dataset)
            steps, tokens = numbers.count(plan.n_steps), numbers.count(plan.tokens_per_step)
            planned[stage.name] = Planned(
                stage,
                f"{steps} steps of {tokens} tokens",
                plan.at_most(),
                adapters=(_adapter(plan),),
            )
    return tuple(planned.values())


def named_adapters(settings: EvaluateSettings) -> tuple[str, ...]:
    """The adapters that an evaluation names; without any it is of the model alone."""
    return settings.adapter or (ZERO_SHOT,)


def _sweep(stage: Stage, settings: SweepSettings, dataset: Dataset) -> Planned:
    if settings.max_flops is None and settings.max_steps is None:
        raise SettingsError(
            f"stage {stage.name}: says neither max_flops nor max_steps",
            "Without them a sweep would take all of the budget.",
        )
    plan = laid_out(settings, lambda: dataset, sources=stage.sources)
    parts = [f"{s.n_trials} {s.name}" for s in plan.stages]
    what = (
        f"{plan.n_trials} trials ({', '.join(parts)})" if len(parts) > 1 else f"{parts[0]} trials"
    )
    adapters = tuple(_chosen(plan, settings, dataset))
    return Planned(stage, what, plan.at_most, adapters=adapters)


def _chosen(plan: SearchPlan, settings: SweepSettings, dataset: Dataset) -> Iterator[ForecastPlan]:
    """How the adapter of a sweep may forecast: it is one of its last stage's."""
    base = shared_settings(settings, plan)
    priced = set()
    for point in points_to_price(plan.stages)[0]:
        trial = with_params(base, point)
        key = (trial.rank, trial.targets, trial.layers, trial.decimals)
        if key not in priced:
            priced.add(key)
            yield _adapter(plan_run(trial.model_copy(update={"max_steps": 1}), dataset))


def _adapter(plan: Plan) -> ForecastPlan:
    """How the adapter of a run forecasts."""
    trained = plan.trained
    return ForecastPlan(
        plan.model,
        updates_of(trained.lora, trained.shape),
        decimals=plan.settings.decimals,
        number_format=plan.windows.codec.number_format,
        scale=plan.windows.scale,
    )


def _evaluation(
    stage: Stage, settings: EvaluateSettings, dataset: Dataset, before: dict[str, Planned]
) -> Planned:
    check(settings)
    devices.set_threads(settings.threads)
    job = prepare(settings, dataset, Silent(), has_folder=False)
    prices, models, n_models = NOTHING, [], 0
    scored = [p for p in before.values() if p.job is not None and _is_same(p.job, job)]
    for choices in _models(stage, settings, before) if settings.with_model else ():
        plans = [replace(plan, max_memory=settings.max_memory) for plan in choices]
        n_models += 1
        if not plans[0].updates and any(plans[0] in p.models for p in scored):
            continue
        each = [at_most(plan, job.task, Pieces(), job.sampling) for plan in plans]
        most = NOTHING
        for price in each:
            most = most | price
        prices += most
        models.append(plans[0])
    n = len(job.task.histories)
    futures = "greedy" if job.sampling.greedy else f"{job.sampling.samples} futures each"
    several = f"{n_models} model{'' if n_models == 1 else 's'}"
    beside = " and the rivals" if settings.rivals else ""
    what = f"{several}{beside}, {n} series of {settings.split}, {futures}"
    return Planned(stage, what, prices, job=job, models=tuple(models))


def _is_same(one: Job, other: Job) -> bool:
    """Whether two evaluations keep what they find in one folder, and ask in one way."""
    return one.folder.key == other.folder.key and one.sampling == other.sampling


def _models(
    stage: Stage, settings: EvaluateSettings, before: dict[str, Planned]
) -> Iterator[tuple[ForecastPlan, ...]]:
    """A tuple of what each model that is scored may be.

    Raises:
        SettingsError: an adapter is of no stage before.
    """
    without: dict[tuple[object, ...], ForecastPlan] = {}
    for name in named_adapters(settings):
        if name == ZERO_SHOT:
            decimals = DEFAULT_DECIMALS if settings.decimals is None else settings.decimals
            form = settings.number_format or "point"
            plan = ForecastPlan(_outline(settings), decimals=decimals, number_format=form)
            without.setdefault((decimals, form), plan)
            continue
        of_stage = name.partition("/")[0]  # search/trial-0003
        left = [n for n, planned in before.items() if planned.adapters]
        if of_stage not in left:
            raise SettingsError(
                f"adapter {name} of stage {stage.name}: is no training or sweep before it",
                f"{meant(name, left)}There are {', '.join([*left, ZERO_SHOT])}.",
            )
        adapters = tuple(
            replace(
                plan,
                decimals=plan.decimals if settings.decimals is None else settings.decimals,
                number_format=settings.number_format or plan.number_format,
            )
            for plan in before[of_stage].adapters
        )
        yield adapters
        if settings.zero_shot:
            for plan in adapters:
                key = (plan.decimals, plan.number_format)
                without.setdefault(key, replace(plan, updates=(), scale=None))
    for plan in without.values():
        yield (plan,)


def _outline(settings: StageSettings) -> Outline:
    placement = devices.choose(settings.device, settings.dtype)
    source = resolve(settings.model, settings.revision, keep=settings.cache)
    return outline(source, placement)


def seconds_of(planned: Sequence[Planned], entries: Sequence[Row]) -> tuple[list[float], bool]:
    """Time the models of stages on this machine: their FLOPs over a rate.

    The rate is that of the last such work in the ledger, else that of matrix products here.

    Args:
        entries: of a ledger, the oldest first.

    Returns:
        seconds of each stage, and whether every rate is from the ledger.
    """
    model = None if not planned else _outline(planned[0].stage.settings)
    seconds, is_known = [], True
    for one in planned:
        assert model is not None
        device, dtype = model.placement.device.type, model.placement.dtype
        kind = ("evaluate", "forecast", "baseline") if one.job is not None else ("train",)
        rates = [
            row.spent.executed / row.seconds
            for row in entries
            if (row.command in kind and row.model == model.name and row.device == device)
            and (row.status == "settled" and row.seconds > 0 and row.spent.executed)
        ]
        is_known = is_known and bool(rates)
        rate = rates[-1] if rates else devices.matrix_peak(device, dtype)
        seconds.append(one.at_most.executed / rate)
    return seconds, is_known
