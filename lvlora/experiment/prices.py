"""Price stages of an experiment before the first of them begins; no weights are opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from lvlora import numbers
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset
from lvlora.errors import SettingsError, meant
from lvlora.evaluation.job import prepare
from lvlora.evaluation.scores import Scoring
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.experiment.record import PlannedStage, Record
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
from lvlora.sweep.search import prepare as prepare_search
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import with_params
from lvlora.train.plan import Plan, plan_run

ZERO_SHOT = "none"
"""The adapter of a model without one."""


def price_stages(
    stages: Sequence[Stage], dataset: Dataset, record: Record, entries: Sequence[Row]
) -> list[PlannedStage]:
    """Price every stage, in their order.

    Args:
        record: stages that are done.
        entries: of the ledger, whose last such work has the rate of a stage.

    Raises:
        SettingsError: a stage names an adapter that no stage before it leaves.
        BudgetError: one does not fit into a limit of its own.
        LvloraError: as the commands, before their first step.
    """
    prices, planned = _Prices(dataset), []
    for stage in stages:
        what, at_most = prices.of(stage)
        seconds: float | None = 0.0
        if stage.name not in record.stages:
            alike = FORECASTING if stage.command == "evaluate" else ("train",)
            rate = ledger_rate(entries, alike, _outline(stage.settings))
            seconds = None if rate is None else at_most.executed / rate
        planned.append(
            PlannedStage(
                name=stage.name,
                command=stage.command,
                what=what,
                done=stage.name in record.stages,
                flops_at_most=at_most,
                seconds=seconds,
            )
        )
    return planned


class _Prices:
    """Prices of stages in their order, as each depends on the results of those before.

    Attributes:
        adapters: stage → how its adapter may forecast, where it leaves one.
        scored: evaluations and models whose forecasts are kept, and cost nothing again.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.adapters: dict[str, tuple[ForecastPlan, ...]] = {}
        self.scored: list[tuple[str, object, ForecastPlan]] = []

    def of(self, stage: Stage) -> tuple[str, Price]:
        """Return the work of a stage in words, and the most that it costs."""
        settings = stage.settings
        if isinstance(settings, EvaluateSettings):
            return self._evaluation(stage, settings)
        if isinstance(settings, SweepSettings):
            return self._sweep(stage, settings)
        plan = plan_run(settings, self.dataset)
        self.adapters[stage.name] = (_adapter(plan),)
        steps, tokens = numbers.count(plan.n_steps), numbers.count(plan.tokens_per_step)
        return f"{steps} steps of {tokens} tokens", plan.at_most()

    def _sweep(self, stage: Stage, settings: SweepSettings) -> tuple[str, Price]:
        if settings.max_flops is None and settings.max_steps is None:
            raise SettingsError(
                f"stage {stage.name}: says neither max_flops nor max_steps",
                "Without them a sweep would take all of the budget.",
            )
        _, study, _ = prepare_search(settings, lambda: self.dataset, stage.sources, Silent(), None)
        plan = study.plan
        base = shared_settings(settings, plan)
        # its adapter is one of its last stage's; only these settings change how it forecasts
        trials = {
            (trial.rank, trial.targets, trial.layers, trial.decimals): trial
            for trial in (with_params(base, point) for point in points_to_price(plan.stages)[0])
        }
        self.adapters[stage.name] = tuple(
            _adapter(plan_run(trial.model_copy(update={"max_steps": 1}), self.dataset))
            for trial in trials.values()
        )
        parts = ", ".join(f"{s.n_trials} {s.name}" for s in plan.stages)
        return f"{plan.n_trials} trials ({parts})", plan.at_most

    def _evaluation(self, stage: Stage, settings: EvaluateSettings) -> tuple[str, Price]:
        devices.set_threads(settings.threads)
        job = prepare(settings, self.dataset, Silent(), has_folder=False)
        models = list(self._models(stage, settings)) if settings.with_model else []
        most = NOTHING
        for alternatives in models:
            plans = [replace(plan, max_memory=settings.max_memory) for plan in alternatives]
            forecasts = (job.folder.key, job.sampling, plans[0])
            if plans[0].updates or forecasts not in self.scored:
                self.scored.append(forecasts)
                scorings = (Scoring(OutlinedModel(p), job.task, job.sampling) for p in plans)
                most += reduce(or_, (scoring.price_bound for scoring in scorings))
        futures = "greedy" if job.sampling.greedy else f"{job.sampling.samples} futures each"
        what = f"{len(models)} model{'' if len(models) == 1 else 's'}"
        rivals = " and the rivals" if job.settings.rivals else ""
        n = len(job.task.histories)
        return f"{what}{rivals}, {n} series of {job.settings.split}, {futures}", most

    def _models(self, stage: Stage, settings: EvaluateSettings) -> Iterator[Sequence[ForecastPlan]]:
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
            if source not in self.adapters:
                raise SettingsError(
                    f"adapter {name} of stage {stage.name}: is no training or sweep before it",
                    f"{meant(name, self.adapters)}There are "
                    f"{', '.join([*self.adapters, ZERO_SHOT])}.",
                )
            plans = self.adapters[source]
            if settings.decimals is not None:
                plans = tuple(replace(plan, decimals=settings.decimals) for plan in plans)
            yield plans
            if settings.zero_shot:
                for plan in plans:
                    without.setdefault(plan.decimals, replace(plan, updates=(), scale=None))
        for plan in without.values():
            yield [plan]


def named_adapters(settings: EvaluateSettings) -> tuple[str, ...]:
    """Return the adapters that an evaluation names; without any it is of the model alone."""
    return settings.adapter or (ZERO_SHOT,)


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


def _outline(settings: StageSettings) -> Outline:
    placement = devices.choose(settings.device, settings.dtype)
    source = resolve(settings.model, settings.revision)
    return outline(source, placement)
