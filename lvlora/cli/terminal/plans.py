"""`--dry-run`: cost of a command, its time and memory on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvlora import numbers
from lvlora.answers import Estimate
from lvlora.cli.program.context import CommandContext
from lvlora.cli.terminal.document import show_document
from lvlora.report.document import Block, Document, Facts, Points, Section

if TYPE_CHECKING:
    from lvlora.forecast.answers import ForecastPrice
    from lvlora.train.record import Train, TrainPlan


def show_run_plan(plan: TrainPlan, context: CommandContext) -> None:
    """Show the plan of a training run."""
    facts: dict[str, object] = {
        "model": plan.model,
        "steps": plan.steps,
        "validations": plan.validations,
        "tokens": plan.tokens,
        "trainable parameters": plan.trainable_parameters,
        "FLOPs at most, executed": numbers.flops(plan.flops_at_most.executed),
        "FLOPs at most, coursework": numbers.flops(plan.flops_at_most.coursework),
    }
    if plan.share_of_limit is not None:
        facts["share of the limit"] = numbers.share(plan.share_of_limit)
    estimate = plan.estimate
    if estimate is not None:
        facts["time on this machine"] = f"about {numbers.duration(estimate.seconds)}"
        facts["of it a step"] = numbers.duration(estimate.step_seconds)
        facts["of it a validation"] = numbers.duration(estimate.validation_seconds)
        facts["memory at most"] = f"about {numbers.size(estimate.peak_bytes)}"
    _show("This run", [Facts(facts)], plan, context)


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
    """Say in a sentence what a run was planned to cost, what it spent, and what is charged."""
    from lvlora.flops.ledger import Ledger
    from lvlora.train.run import charged

    planned, spent = result.flops_at_most.executed, result.flops.executed
    validating = result.validation_flops.executed
    with Ledger.for_runs(runs) as ledger:
        total = charged(ledger, result.run).executed
    sentence = (
        f"FLOPs executed: at most {numbers.flops(planned)} were planned, {numbers.flops(spent)} "
        f"were spent ({numbers.flops(spent - validating)} in steps, {numbers.flops(validating)} in "
        "validations)"
    )
    if total == spent:
        return f"{sentence}, and that is what the ledger charges."
    return (
        f"{sentence}; the ledger charges {numbers.flops(total)}, as "
        f"{numbers.flops(total - spent)} more went into what interrupted processes had begun."
    )


def show_prices(answer: ForecastPrice, context: CommandContext) -> None:
    """Show the price of forecasts, and the time and memory that they take."""
    lines = [
        f"{name}, {answer.n_series} series: at most {numbers.flops(price.executed)} FLOPs "
        f"executed, {numbers.flops(price.coursework)} by the coursework's rules."
        for name, price in answer.forecasters.items()
    ] or ["No model: no FLOPs."]
    estimate = answer.estimate
    if estimate is not None:
        lines += [
            f"Time on this machine: about {numbers.duration(estimate.seconds)}.",
            f"Memory at most: about {numbers.size(estimate.peak_bytes)}.",
        ]
    _show("These forecasts", [Points(lines)], answer, context)


def nothing_spent(estimate: Estimate | None) -> str:
    """Return the last line of a dry run."""
    probe = 0 if estimate is None else estimate.probe_flops.executed
    measured = f" The probe's {numbers.flops(probe)} FLOPs belong to no run." if probe else ""
    return f"Nothing was charged.{measured}"


def _show(
    title: str, blocks: list[Block], answer: TrainPlan | ForecastPrice, context: CommandContext
) -> None:
    page = Document(title, [Section("", [*blocks, nothing_spent(answer.estimate)])])
    context.output.report(answer, lambda: show_document(page, context.output))
