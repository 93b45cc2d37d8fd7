"""Seconds and memory of a run on this machine, from a few of its steps and forecasts.

The steps are real ones with the real optimiser; the adapter that they begin is thrown away with the
process.
"""

from __future__ import annotations

from lvlora.flops.ledger import entries
from lvlora.forecast.estimate import benchmark, estimate, ledger_rate
from lvlora.train.loop import Loaded
from lvlora.train.record import RunEstimate


def estimate_run(loaded: Loaded, started: float = 0.0) -> RunEstimate:
    """Return time and memory of a fresh run; the loaded model is used up by it.

    Args:
        started: seconds from the command's start until now.
    """
    plan, device = loaded.plan, loaded.base.placement.device
    rate = ledger_rate(entries(plan.settings.runs), ("train",), loaded.base)
    steps = (plan.trained.step(step.shapes) for step in loaded.steps(0, plan.n_steps))
    training = benchmark(steps, device, rate)
    probe, peak = training.probe, training.peak_bytes
    each, validation = training.seconds(plan.per_step), 0.0
    if loaded.validator is not None:
        validating = loaded.validator.benchmark()
        validation = validating.seconds(plan.per_validation)
        probe, peak = probe + validating.probe, max(peak, validating.peak_bytes)
    # saving holds the adapter's tensors twice beside those of the model
    peak += 2 * sum(q.numel() * q.element_size() for q in loaded.parameters.values())
    work = plan.n_steps * each + plan.n_validations * validation
    return RunEstimate(
        **dict(estimate(started + work, peak, probe, draws=True)),
        first_step_seconds=training.first_seconds,
        step_seconds=each,
        validation_seconds=validation,
    )
