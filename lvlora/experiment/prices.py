"""Price stages of an experiment before the first of them begins; no weights are opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_

from lvlora import numbers
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.errors import SettingsError, meant
from lvlora.evaluation.job import prepare
from lvlora.evaluation.scores import Scoring
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.settings import Stage, StageSettings
from lvlora.flops.rows import Row
from lvlora.forecast.estimate import FORECASTING, ledger_rate
from lvlora.forecast.language_model import OutlinedModel
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.plan import Plan as ForecastPlan
from lvlora.forecast.pricing import updates_of
from lvlora.model import devices
from lvlora.model.catalogue import resolve
from lvlora.model.loading import Outline, outline
from lvlora.narrator import Silent
from lvlora.sweep.plan import points_to_price
from lvlora.sweep.record import shared_settings
from lvlora.sweep.search import laid_out
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import with_params
from lvlora.train.plan import Plan, plan_run

ZERO_SHOT = "none"
"""The adapter of a model without one."""


@dataclass(frozen=True)
class PricedStage:
    """A stage, its work in words, and the most that it costs."""

    stage: Stage
    what: str
    at_most: Price

    def seconds(self, entries: Sequence[Row]) -> float | None:
        """Return its time at the rate of the last such work in the ledger; None without any."""
        alike = FORECASTING if self.stage.command == "evaluate" else ("train",)
        rate = ledger_rate(entries, alike, _outline(self.stage.settings))
        return None if rate is None else self.at_most.executed / rate


@dataclass
class _Before:
    """The results of earlier stages, as far as prices depend on them.

    Attributes:
        adapters: stage → how its adapter may forecast, where it leaves one.
        scored: evaluations and models whose forecasts are kept, and cost nothing again.
    """

    adapters: dict[str, tuple[ForecastPlan, ...]] = field(default_factory=dict)
    scored: list[tuple[str, object, ForecastPlan]] = field(default_factory=list)


def price_stages(stages: Sequence[Stage], dataset: Dataset) -> tuple[PricedStage, ...]:
    """Price every stage, in their order.

    Raises:
        SettingsError: a stage names an adapter that no stage before it leaves.
        BudgetError: one does not fit into a limit of its own.
        LvloraError: as the commands, before their first step.
    """
    before, priced = _Before(), []
    for stage in stages:
        settings = stage.settings
        if isinstance(settings, EvaluateSettings):
            what, at_most = _evaluation(stage, settings, dataset, before)
        elif isinstance(settings, SweepSettings):
            what, at_most = _sweep(stage, settings, dataset, before)
        else:
            plan = plan_run(settings, dataset)
            before.adapters[stage.name] = (_adapter(plan),)
            steps, tokens = numbers.count(plan.n_steps), numbers.count(plan.tokens_per_step)
            what, at_most = f"{steps} steps of {tokens} tokens", plan.at_most()
        priced.append(PricedStage(stage, what, at_most))
    return tuple(priced)


def named_adapters(settings: EvaluateSettings) -> tuple[str, ...]:
    """Return the adapters that an evaluation names; without any it is of the model alone."""
    return settings.adapter or (ZERO_SHOT,)


def _sweep(
    stage: Stage, settings: SweepSettings, dataset: Dataset, before: _Before
) -> tuple[str, Price]:
    if settings.max_flops is None and settings.max_steps is None:
        raise SettingsError(
            f"stage {stage.name}: says neither max_flops nor max_steps",
            "Without them a sweep would take all of the budget.",
        )
    plan = laid_out(settings, lambda: dataset, Silent(), sources=stage.sources)
    base = shared_settings(settings, plan)
    # its adapter is one of its last stage's; only these settings change how it forecasts
    trials = {
        (trial.rank, trial.targets, trial.layers, trial.decimals): trial
        for trial in (with_params(base, point) for point in points_to_price(plan.stages)[0])
    }
    before.adapters[stage.name] = tuple(
        _adapter(plan_run(trial.model_copy(update={"max_steps": 1}), dataset))
        for trial in trials.values()
    )
    parts = ", ".join(f"{s.n_trials} {s.name}" for s in plan.stages)
    return f"{plan.n_trials} trials ({parts})", plan.at_most


def _adapter(plan: Plan) -> ForecastPlan:
    """Return how the adapter of a run forecasts."""
    trained = plan.trained
    return ForecastPlan(
        plan.model,
        updates_of(trained.lora, trained.shape),
        decimals=plan.settings.decimals,
        number_format=plan.windows.codec.number_format,
        scale=plan.windows.scale,
    )


def _evaluation(
    stage: Stage, settings: EvaluateSettings, dataset: Dataset, before: _Before
) -> tuple[str, Price]:
    devices.set_threads(settings.threads)
    job = prepare(settings, dataset, Silent(), has_folder=False)
    most, n_models = NOTHING, 0
    for plans in _models(stage, settings, before) if settings.with_model else ():
        n_models += 1
        resolved = [replace(plan, max_memory=settings.max_memory) for plan in plans]
        forecasts = (job.folder.key, job.sampling, resolved[0])
        if resolved[0].updates or forecasts not in before.scored:
            before.scored.append(forecasts)
            prices = (
                Scoring(OutlinedModel(plan), job.task, job.sampling).price_bound
                for plan in resolved
            )
            most += reduce(or_, prices)
    futures = "greedy" if job.sampling.greedy else f"{job.sampling.samples} futures each"
    models = f"{n_models} model{'' if n_models == 1 else 's'}"
    rivals = " and the rivals" if job.settings.rivals else ""
    n = len(job.task.histories)
    return f"{models}{rivals}, {n} series of {job.settings.split}, {futures}", most


def _models(
    stage: Stage, settings: EvaluateSettings, before: _Before
) -> Iterator[Sequence[ForecastPlan]]:
    """Give the plans of each model that is scored; several where a sweep chooses the adapter.

    Raises:
        SettingsError: no stage before leaves a named adapter.
    """
    without: dict[int, ForecastPlan] = {}
    for name in named_adapters(settings):
        if name == ZERO_SHOT:
            decimals = DEFAULT_DECIMALS if settings.decimals is None else settings.decimals
            base = _outline(settings)
            plan = ForecastPlan(base, decimals=decimals, number_format=base.number_format)
            without.setdefault(decimals, plan)
            continue
        source = name.partition("/")[0]  # search/trial-0003
        if source not in before.adapters:
            raise SettingsError(
                f"adapter {name} of stage {stage.name}: is no training or sweep before it",
                f"{meant(name, before.adapters)}There are "
                f"{', '.join([*before.adapters, ZERO_SHOT])}.",
            )
        plans = before.adapters[source]
        if settings.decimals is not None:
            plans = tuple(replace(plan, decimals=settings.decimals) for plan in plans)
        yield plans
        if settings.zero_shot:
            for plan in plans:
                without.setdefault(plan.decimals, replace(plan, updates=(), scale=None))
    for plan in without.values():
        yield [plan]


def _outline(settings: StageSettings) -> Outline:
    placement = devices.choose(settings.device, settings.dtype)
    source = resolve(settings.model, settings.revision)
    return outline(source, placement)
