"""`--dry-run`: what a command would cost, how long it would take here, and how much memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.cli.program.context import CommandContext

if TYPE_CHECKING:
    from lvlora.forecast.answers import ForecastPrice
    from lvlora.train.record import Train, TrainPlan


def show_run_plan(planned: TrainPlan, context: CommandContext) -> None:
    """A training run."""
    rows = [
        ("model", planned.model),
        ("steps", numbers.count(planned.steps)),
        ("validations", numbers.count(planned.validations)),
        ("tokens", numbers.count(planned.tokens)),
        ("trainable parameters", numbers.count(planned.trainable_parameters)),
        ("FLOPs at most, executed", numbers.flops(planned.flops_at_most.executed)),
        ("FLOPs at most, coursework", numbers.flops(planned.flops_at_most.coursework)),
    ]
    if planned.share_of_limit is not None:
        rows.append(("share of the limit", numbers.share(planned.share_of_limit)))
    estimate = planned.estimate
    if estimate is not None:
        rows += [
            ("time on this machine", f"about {numbers.duration(estimate.seconds)}"),
            ("of it a step", numbers.duration(estimate.step_seconds)),
            ("of it a validation", numbers.duration(estimate.validation_seconds)),
            ("memory at most", f"about {numbers.size(estimate.peak_bytes)}"),
        ]

    def human() -> None:
        context.output.table(["This run", ""], rows)
        nothing_spent(0 if estimate is None else estimate.probe_flops.executed, context)

    context.output.report(planned, human)


def judged(result: Train) -> str:
    """Compare forecasts with and without the kept adapter; "" where there are none."""
    before = None if result.zero_shot is None else result.zero_shot.mae
    after = None if result.validation is None else result.validation.mae
    if before is None or after is None:
        return ""
    if after >= before:
        return (
            "On the validation part the adapter is no better than the model without it "
            f"({numbers.plain(after)} against {numbers.plain(before)}): train longer, or use "
            "--adapter none."
        )
    gain = result.gain
    if gain is None:
        return ""
    one, many = {
        "series": ("one validation series", f"{gain.n} validation series"),
        "windows": ("one window of steps", f"{gain.n} windows of steps that were not trained on"),
    }[gain.of]
    mean = numbers.plain(gain.mean, 3)
    if gain.low is None or gain.high is None:
        return f"Forecasts of {one} tell little of a gain of {mean} in MAE."
    within = f"95 % interval {numbers.interval(gain.low, gain.high)}"
    if gain.low <= 0:
        more = {"series": "--validation-series", "windows": "--validation-steps"}[gain.of]
        return (
            f"The gain of {mean} in MAE is within the noise of {many} "
            f"({within}). {more} takes more of them."
        )
    return (
        f"With the adapter the MAE of {many} is smaller by {mean} ({within}). They chose the "
        "adapter, so it may gain a little less."
    )


def reconciled(result: Train, runs: Path) -> str:
    """What a run was planned to cost, what it spent, and what the ledger charges, in a sentence."""
    from lvlora.flops.ledger import Ledger
    from lvlora.train.run import charged

    planned, spent = result.flops_at_most.executed, result.flops.executed
    validating = result.validation_flops.executed
    with Ledger.for_runs(runs) as ledger:
        total = charged(ledger, result.run).executed
    said = (
        f"FLOPs executed: at most {numbers.flops(planned)} were planned, {numbers.flops(spent)} "
        f"were spent ({numbers.flops(spent - validating)} in steps, {numbers.flops(validating)} in "
        "validations)"
    )
    if total == spent:
        return f"{said}, and that is what the ledger charges."
    return (
        f"{said}; the ledger charges {numbers.flops(total)}, as "
        f"{numbers.flops(total - spent)} more went into what interrupted processes had begun."
    )


def show_prices(answer: ForecastPrice, context: CommandContext) -> None:
    """Models that would forecast so many series."""
    estimate = answer.estimate

    def human() -> None:
        if not answer.forecasters:
            context.output.line("No model: no FLOPs.")
        for name, price in answer.forecasters.items():
            context.output.line(
                f"{name}, {answer.n_series} series: at most {numbers.flops(price.executed)} FLOPs "
                f"executed, {numbers.flops(price.coursework)} by the coursework's rules."
            )
        if estimate is not None:
            duration, size = numbers.duration(estimate.seconds), numbers.size(estimate.peak_bytes)
            context.output.line(f"Time on this machine: about {duration}.")
            context.output.line(f"Memory at most: about {size}.")
        nothing_spent(0 if estimate is None else estimate.probe_flops.executed, context)

    context.output.report(answer, human)


def nothing_spent(probe: int, context: CommandContext) -> None:
    """The last line of a dry run; ``probe``: FLOPs that it took to measure."""
    said = f" The probe's {numbers.flops(probe)} FLOPs belong to no run." if probe else ""
    context.output.line(f"Nothing was charged.{said}")
