"""The part of a run's other processes: their share of every step, and nothing else.

Knows: when to go on, and when to end. Does not know: the folder, the ledger, validation; those are
the first process's.
"""

from __future__ import annotations

from safetensors.torch import load

from lvlora.errors import EXIT_STOPPED, NumericalError
from lvlora.train import checkpoint, loop
from lvlora.train.loaded import Loaded
from lvlora.train.ranks import FailedElsewhere, Ranks
from lvlora.train.stopping import StopRequest


def follow(loaded: Loaded, ranks: Ranks) -> None:
    """Make the steps that the first process makes.

    Raises:
        FailedElsewhere: the run was stopped, or a loss was not finite; the first process says so.
        ProcessLost: another process is gone.
    """
    plan = loaded.plan
    told, content = ranks.hear()
    checkpoint.put_back(load(content), "the first process", loaded.parameters, loaded.optimizers)
    done = loop.steps(
        list(loaded.parameters.values()),
        loaded.optimizers,
        loaded.objective.loss_sum,
        plan.windows,
        plan.learning_rate,
        first=told["step"],
        last=told["last"],
        accumulation=plan.settings.accumulation,
        clip_norm=plan.settings.clip_norm,
        seed=plan.dropout_seed,
        ranks=ranks,
    )
    with StopRequest() as stop:
        while True:
            over, stopped = ranks.agreed(False, stop.requested)
            if over:
                return
            if stopped:
                ranks.wait()  # until all is saved
                raise FailedElsewhere(0, EXIT_STOPPED)
            try:
                next(done)
            except NumericalError as error:
                raise FailedElsewhere(0, error.exit_code) from None
