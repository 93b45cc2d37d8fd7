"""Price stages of an experiment before the first of them begins; no weights are opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    prices, planned = _Prices(dataset, base), []
    for stage in stages:
        what, at_most = prices.of(stage)
        alike = FORECASTING if stage.command == "evaluate" else ("train",)
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


@dataclass
class _Prices:
    """The stages that were priced until now.

    Attributes:
        adapters: stage → how its adapter may forecast: one way after a training, several after a
            sweep.
        without: priced forecasts of models without an adapter, which cost nothing a second time.
    """

    dataset: Dataset
    base: Outline
    adapters: dict[str, list[OutlinedModel]] = field(default_factory=dict)
    without: list[tuple[object, ...]] = field(default_factory=list)

    def of(self, stage: Stage) -> tuple[str, Price]:
        """Return the work of a stage in words, and the most that it costs."""
        settings = stage.settings
        if isinstance(settings, EvaluateSettings):
            return self._of_evaluation(stage.name, settings)
        if isinstance(settings, SweepSettings):
            return self._of_sweep(stage, settings)
        run = plan_run(settings, self.dataset)
        self.adapters[stage.name] = [_forecasting(run)]
        steps, tokens = numbers.count(run.n_steps), numbers.count(run.tokens_per_step)
        return f"{steps} steps of {tokens} tokens", run.at_most()

    def _of_sweep(self, stage: Stage, settings: SweepSettings) -> tuple[str, Price]:
        if settings.max_flops is None and settings.max_steps is None:
            raise SettingsError(
                f"stage {stage.name}: says neither max_flops nor max_steps",
                "Without them a sweep would take all of the budget.",
            )
        _, study = prepare_search(settings, lambda: self.dataset, stage.sources, Silent(), None)
        plan = study.plan
        one_step = shared_settings(settings, plan).model_copy(update={"max_steps": 1})
        trials: dict[tuple[object, ...], TrainSettings] = {}
        for point in points_to_price(plan.stages):  # the adapter is one of the last part's
            trial = with_params(one_step, point)
            # only these settings change how it forecasts
            trials[trial.rank, trial.targets, trial.layers, trial.decimals] = trial
        adapters = [_forecasting(plan_run(trial, self.dataset)) for trial in trials.values()]
        self.adapters[stage.name] = adapters
        parts = ", ".join(f"{part.trials} {part.stage}" for part in plan.stages)
        return f"{plan.trials} trials ({parts})", plan.flops_at_most

    def _of_evaluation(self, stage: str, settings: EvaluateSettings) -> tuple[str, Price]:
        models = self._scored_models(stage, settings) if settings.with_model else []
        job = prepare_evaluation(settings, self.dataset, Silent(), has_folder=False)
        most = NOTHING
        for alternatives in models:
            forecasts = (job.folder.key, job.sampling, alternatives[0])
            if alternatives[0].updates or forecasts not in self.without:
                self.without.append(forecasts)
                bounds = (Scoring(one, job.task, job.sampling).price_bound for one in alternatives)
                most += reduce(or_, bounds)
        futures = "greedy" if job.sampling.greedy else f"{job.sampling.samples} futures each"
        rivals = " and the rivals" if job.settings.rivals else ""
        what = f"{len(models)} model{'' if len(models) == 1 else 's'}{rivals}"
        part = job.settings.split
        return f"{what}, {len(job.task.histories)} series of {part}, {futures}", most

    def _scored_models(self, stage: str, settings: EvaluateSettings) -> list[list[OutlinedModel]]:
        """Return how each model of an evaluation may forecast: with adapters, then without."""
        bare = OutlinedModel(
            self.base, decimals=DEFAULT_DECIMALS, number_format=self.base.number_format
        )
        models: list[list[OutlinedModel]] = []
        without: dict[int, OutlinedModel] = {}
        for name in settings.adapter or (ZERO_SHOT,):
            source = name.partition("/")[0]  # search/trial-0003
            if name != ZERO_SHOT and source not in self.adapters:
                raise SettingsError(
                    f"adapter {name} of stage {stage}: is no training or sweep before it",
                    f"{meant(name, self.adapters)}There are "
                    f"{', '.join([*self.adapters, ZERO_SHOT])}.",
                )
            plans = [
                replace(
                    plan,
                    max_memory=settings.max_memory,
                    decimals=plan.decimals if settings.decimals is None else settings.decimals,
                )
                for plan in ([bare] if name == ZERO_SHOT else self.adapters[source])
            ]
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
