"""The part of a run's other processes: their share of every step, and nothing else.

Knows: when to go on, and when to end. Does not know: the folder, the ledger, validation; those are
the first process's.
"""

from __future__ import annotations

from safetensors.torch import load

from lvlora.errors import EXIT_STOPPED, NumericalError
from lvlora.train import checkpoint, loop
from lvlora.train.ranks import FailedElsewhere, Ranks
from lvlora.train.setup import Prepared
from lvlora.train.stopping import StopRequest


def follow(prepared: Prepared, ranks: Ranks) -> None:
    """Make the steps that the first process makes.

    Raises:
        FailedElsewhere: the run was stopped, or a loss was not finite; the first process says so.
        ProcessLost: another process is gone.
    """
    told, content = ranks.hear()
    checkpoint.put_back(
        load(content), "the first process", prepared.parameters, prepared.optimizers
    )
    done = loop.steps(
        list(prepared.parameters.values()),
        prepared.optimizers,
        prepared.objective.loss_sum,
        prepared.windows,
        prepared.learning_rate,
        first=told["step"],
        last=told["last"],
        accumulation=prepared.settings.accumulation,
        clip_norm=prepared.settings.clip_norm,
        seed=prepared.dropout_seed,
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
