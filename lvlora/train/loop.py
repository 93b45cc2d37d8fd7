"""The training loop: a generator of steps that prints nothing, saves nothing and decides nothing.

The caller stops by no longer asking for the next step.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from lvlora.errors import NumericalError
from lvlora.settings.training import Schedule
from lvlora.text.windows import Batch
from lvlora.train.observer import StepRecord
from lvlora.train.process import seeded
from lvlora.train.ranks import ALONE, Ranks

_ONE_CYCLE_START = 1 / 25
_ONE_CYCLE_END = 1e-4
_COSINE_END = 0.1


class BatchSource(Protocol):
    """Batches by their number in the run."""

    def batch(self, index: int) -> Batch:
        """The ``index``-th micro-batch; the same every time it is asked for."""
        ...


def steps(
    parameters: Sequence[nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    loss_sum: Callable[[Batch], Tensor],
    batches: BatchSource,
    learning_rate: Callable[[int], float],
    *,
    first: int,
    last: int,
    accumulation: int = 1,
    clip_norm: float = 1.0,
    seed: int | None = 0,
    ranks: Ranks = ALONE,
) -> Iterator[StepRecord]:
    """Do the steps first … last-1, counted from 0, yielding after each; nobody has priced it yet.

    A parameter group's rate is ``learning_rate(step)`` times its own ``rate_factor`` (default 1).
    Dropout is drawn from (seed, step, rank) alone, so a resumed run draws what the unbroken one
    would; without a seed nothing is drawn. Several processes make one step: each its share of the
    rows, and what is yielded is of the whole.

    Raises:
        NumericalError: a loss or gradient is not finite; the parameters are as before the step.
        ProcessLost: another process is gone; the parameters are as before the step.
    """
    for step in range(first, last):
        begin = time.perf_counter()
        micro = [batches.batch(step * accumulation + i) for i in range(accumulation)]
        n_targets = sum(b.n_targets for b in micro)
        total = torch.zeros((), dtype=torch.float64)
        with (
            contextlib.nullcontext()
            if seed is None
            else seeded(
                (seed * 1_000_003 + step + (ranks.rank << 48)) % 2**63, parameters[0].device
            )
        ):
            for batch in ranks.share_of(micro):
                loss = loss_sum(batch)
                (loss / n_targets).backward()  # type: ignore[no-untyped-call]
                total += loss.detach().double().cpu()
        total = ranks.add_up(parameters, total)
        norm = nn.utils.clip_grad_norm_(parameters, clip_norm if clip_norm > 0 else float("inf"))
        mean = float(total) / n_targets
        grad_norm = float(norm)
        if not (_finite(mean) and _finite(grad_norm)):
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            raise NumericalError(
                f"step {step}: the loss is {mean:.4g} and the gradient norm {grad_norm:.4g}; "
                "no step was made",
                "The last saved state is good. Try a smaller --learning-rate or --dtype float32.",
            )
        rate = learning_rate(step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("rate_factor", 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield StepRecord(
            step=step + 1,
            loss=mean,
            learning_rate=rate,
            grad_norm=grad_norm,
            seconds=time.perf_counter() - begin,
            tokens=n_targets,
            tokens_padded=sum(b.inputs.size for b in micro) - n_targets,
            shapes=tuple((b.inputs.shape[0], b.inputs.shape[1]) for b in micro),
        )


def _finite(value: float) -> bool:
    return value - value == 0.0


def learning_rate(step: int, n_steps: int, peak: float, warmup: float, schedule: Schedule) -> float:
    """The rate of ``step`` (from 0) in a run of ``n_steps``.

    - cosine: linear warm-up, then half a cosine down to a tenth of the peak (Loshchilov & Hutter
      2016, arXiv:1608.03983).
    - one-cycle: cosine up from peak/25, cosine down to peak/10,000 (Smith & Topin 2017,
      arXiv:1708.07120).
    - constant: linear warm-up, then the peak.

    Args:
        warmup: share of the steps in which the rate rises.
    """
    rising = round(warmup * n_steps)
    if step < rising:
        if schedule == "one-cycle":
            way = (step + 1) / rising
            return peak * _between(_ONE_CYCLE_START, 1.0, 0.5 - 0.5 * math.cos(math.pi * way))
        return peak * (step + 1) / rising
    if schedule == "constant":
        return peak
    way = (step - rising) / max(1, n_steps - rising)
    end = _ONE_CYCLE_END if schedule == "one-cycle" else _COSINE_END
    return peak * _between(end, 1.0, 0.5 + 0.5 * math.cos(math.pi * way))


def _between(low: float, high: float, part: float) -> float:
    return low + (high - low) * part
