"""How long the stages will take here and how much memory, by small models of the same widths.

Time and memory of the steps are a part that does not depend on the layers and a part that grows
with each of them: two small models give both, and no weights are needed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from lvlora.evaluation.price import of_model, of_rivals
from lvlora.evaluation.scores import group_size
from lvlora.experiment.plan import Planned, source_of
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.estimate import REPORT_SECONDS, Estimate
from lvlora.forecast.forecaster import Forecaster
from lvlora.model import devices
from lvlora.model.loading import BaseModel
from lvlora.model.stand_in import stand_in
from lvlora.train.estimate import of_run
from lvlora.train.loaded import load_run
from lvlora.train.plan import Plan

_FEW, _MORE = 2, 6
"""Layers of the two models; one that has no more is timed whole."""


@dataclass(frozen=True)
class Timing:
    """What the stages will take.

    Attributes:
        seconds: of each stage; peak_bytes: of the process that makes them all.
        probe: what finding it out computed.
    """

    seconds: tuple[float, ...]
    peak_bytes: int
    probe: Price

    @property
    def whole(self) -> Estimate:
        """Of all stages."""
        return Estimate(sum(self.seconds), self.peak_bytes, self.probe)


def time_stages(stages: Sequence[Planned]) -> Timing | None:
    """Time the stages; None where the model is of no family that can be stood in for."""
    if not stages:
        return Timing((), 0, NOTHING)
    layers = max((_layers(stage) for stage in stages), default=0)
    sizes = (layers,) if layers <= _MORE else (_FEW, _MORE)
    rivals = [_rivals(stage) for stage in stages]
    found: list[list[float]] = []
    peaks: list[int] = []
    probe = NOTHING
    # the smaller first: the most memory so far is all that a process can say of itself
    for size in sizes:
        each = []
        timed: dict[tuple[object, ...], Estimate] = {}
        for stage in stages:
            estimate = _stage(stage, size, timed)
            if estimate is None:
                return None
            each.append(estimate.seconds)
            probe += estimate.probe
            peak = estimate.peak_bytes
        found.append(each)
        peaks.append(peak)
    seconds = tuple(
        _grown(sizes, of_one, layers) + other
        for of_one, other in zip(zip(*found, strict=True), rivals, strict=True)
    )
    return Timing(seconds, round(_grown(sizes, peaks, layers)), probe)


def _grown(sizes: Sequence[int], values: Sequence[float], layers: int) -> float:
    """What grows evenly from one size to the next, at so many layers."""
    if len(sizes) == 1:
        return values[0]
    slope = max(0.0, values[1] - values[0]) / (sizes[1] - sizes[0])
    return values[0] + (layers - sizes[0]) * slope


def _layers(planned: Planned) -> int:
    if planned.training is not None:
        return planned.training.model.shape.layers
    return max((plan.base.shape.layers for plan in planned.models), default=0)


def _rivals(planned: Planned) -> float:
    """Seconds of what no model does."""
    if planned.job is None:
        return 0.0
    job = planned.job
    seconds = REPORT_SECONDS
    if planned.rivals:
        workers = job.settings.workers or devices.cores()
        seconds += of_rivals(job.task, job.train, workers, job.rival_samples).seconds
    return seconds


def _stage(
    planned: Planned, layers: int, timed: dict[tuple[object, ...], Estimate]
) -> Estimate | None:
    """A stage with a model of so many layers.

    Args:
        timed: evaluations of one model by what its time depends on; those that are made are added.
            An adapter is merged into the weights, so it takes no time of its own.
    """
    if planned.training is not None:
        plan = planned.training
        begin = time.perf_counter()
        base = stand_in(plan.source, plan.model, layers)
        if base is None:
            return None
        run = load_run(_of(plan, base), base)
        loading = time.perf_counter() - begin
        whole = of_run(run).whole
        return replace(whole, seconds=loading + whole.seconds * planned.runs)
    job = planned.job
    assert job is not None
    peak = devices.peak_bytes(devices.choose(job.settings.device).device)
    total = Estimate(0.0, peak, NOTHING)
    n = len(job.task.histories)
    for model in planned.models:
        key = (
            model.base.shape,
            (model.decimals, model.number_format, model.max_memory),
            (job.task.context, job.task.protocol.horizon, job.sampling),
            min(n, group_size(job.sampling.n_futures)),
        )
        if key not in timed:
            base = stand_in(source_of(planned.stage.settings), model.base, layers)
            if base is None:
                return None
            forecaster = Forecaster(
                base,
                decimals=model.decimals,
                number_format=model.number_format,
                scale=model.scale,
                max_memory=model.max_memory,
            )
            one = of_model(forecaster, job.task, job.sampling)
            timed[key] = replace(one, seconds=one.seconds / n, probe=NOTHING)
            total = replace(total, probe=total.probe + one.probe)
        known = timed[key]
        total = replace(
            total,
            seconds=total.seconds + known.seconds * n,
            peak_bytes=max(total.peak_bytes, known.peak_bytes),
        )
    return total


def _of(plan: Plan, base: BaseModel) -> Plan:
    """The plan of the same run with another model of the same widths."""
    lora = replace(plan.trained.lora, layers=None)
    trained = replace(plan.trained, shape=base.shape, lora=lora)
    settings = plan.settings.model_copy(update={"layers": None, "compile": "off"})
    return replace(plan, model=base, trained=trained, settings=settings)
