"""`--dry-run`: what a command would cost, how long it would take here, and how much memory.

Knows: how prices and estimates are said. Does not know: how they are found.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import numbers
from lvlora.cli.program.context import CommandContext

if TYPE_CHECKING:
    from lvlora.forecast.answers import ForecastPrice
    from lvlora.forecast.estimate import Estimate
    from lvlora.train.estimate import RunEstimate
    from lvlora.train.loaded import Loaded
    from lvlora.train.progress import Result


def show_run_plan(
    loaded: Loaded, estimate: RunEstimate | None, started: float, context: CommandContext
) -> None:
    """A training run.

    Args:
        estimate: None where several processes would make it.
        started: seconds until the run was prepared; the real one takes them too.
    """
    from lvlora.forecast.estimate import AROUND_SECONDS

    plan = loaded.plan
    settings, most = plan.settings, plan.at_most()
    tokens = plan.n_steps * plan.tokens_per_step
    trainable = plan.trained.n_parameters
    limit = settings.max_flops or settings.budget_flops
    payload: dict[str, Any] = {
        "model": plan.model.name,
        "steps": plan.n_steps,
        "validations": plan.n_validations,
        "tokens": tokens,
        "trainable_parameters": trainable,
        "flops_at_most": most.to_dict(),
        "share_of_limit": most.of(settings.convention) / limit if limit else None,
        "estimate": None,
    }
    rows = [
        ("model", plan.model.name),
        ("steps", numbers.count(plan.n_steps)),
        ("validations", numbers.count(plan.n_validations)),
        ("tokens", numbers.count(tokens)),
        ("trainable parameters", numbers.count(trainable)),
        ("FLOPs at most, executed", numbers.flops(most.executed)),
        ("FLOPs at most, coursework", numbers.flops(most.coursework)),
    ]
    if limit:
        rows.append(("share of the limit", numbers.share(most.of(settings.convention) / limit)))
    if estimate is not None:
        whole = started + estimate.whole.seconds + AROUND_SECONDS
        memory = estimate.whole.with_room()
        payload["estimate"] = {
            **memory.to_dict(),
            "seconds": whole,
            "first_step_seconds": estimate.first_seconds,
            "step_seconds": estimate.step_seconds,
            "validation_seconds": estimate.validation_seconds,
        }
        rows += [
            ("time on this machine", f"about {numbers.duration(whole)}"),
            ("of it a step", numbers.duration(estimate.step_seconds)),
            ("of it a validation", numbers.duration(estimate.validation_seconds)),
            _memory(memory),
        ]

    def human() -> None:
        context.output.table(["This run", ""], rows)
        nothing_spent(0 if estimate is None else estimate.whole.probe.executed, context)

    context.output.report(payload, human)


def judged(result: Result, validation: Path) -> tuple[bool, str]:
    """Whether the adapter is worth using, and what to say if it is not, or nobody can tell.

    Args:
        validation: the run's validation.json, with the errors of each series.
    """
    from lvlora.train.validation_file import gain_of

    before = (result.zero_shot or {}).get("mae")
    after = (result.validation or {}).get("mae")
    if before is None or after is None:
        return True, ""
    if after >= before:
        return False, (
            "On the validation part the adapter is no better than the model without it "
            f"({numbers.plain(after)} against {numbers.plain(before)}): train longer, or use "
            "--adapter none."
        )
    gain = gain_of(validation)
    if gain is None:
        return True, ""
    n, mean, low, high = gain
    if n == 1:
        return (
            True,
            f"One validation series tells little of a gain of {numbers.plain(mean, 3)} in MAE.",
        )
    if low > 0:
        return True, ""
    return True, (
        f"The gain of {numbers.plain(mean, 3)} in MAE is within the noise of {n} validation series "
        f"(95 % interval {numbers.interval(low, high)}): more of them would tell "
        "(--validation-series)."
    )


def reconciled(result: Result, runs: Path) -> str:
    """What a run was planned to cost, what it spent, and what the ledger charges, in a sentence."""
    from lvlora.flops.ledger import Ledger
    from lvlora.train.charging import charged

    planned, spent = result.flops_at_most["executed"], result.flops["executed"]
    validating = result.validation_flops["executed"]
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


def _memory(estimate: Estimate) -> tuple[str, str]:
    return "memory at most", f"about {numbers.size(estimate.peak_bytes)}"


def nothing_spent(probe: int, context: CommandContext) -> None:
    """The last line of a dry run; ``probe``: FLOPs that it took to measure."""
    said = f" The probe's {numbers.flops(probe)} FLOPs belong to no run." if probe else ""
    context.output.line(f"Nothing was charged.{said}")
