"""The processes of one run: which of them this is, and how they add up what each has computed.

Every process computes the gradient of its share of a step's rows; the sums of all shares are the
gradient of the whole step, because each is divided by the number of targets of all. So only the
gradients of what is trained travel, once a step, in one piece. PyTorch's own wrapper
(DistributedDataParallel) hides the travel behind the backward pass, which pays where all weights
are trained; for it every process must make the same number of backward passes over batches of the
same weight, which is not so here.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from lvlora.errors import EXIT_DONE, EXIT_FAILURE, LvloraError, SettingsError
from lvlora.text.windows import Batch

PATIENCE = timedelta(minutes=30)
"""The longest wait for another process: longer than a validation, which the first makes alone. One
that ends, however it ends, is noticed at once: its connections are closed."""

_BACKENDS = "cpu:gloo,cuda:nccl"
_TOLD_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_FAILED = "failed"


class ProcessLost(LvloraError):
    """Another process of the run is gone; this one has made no step without it."""


class FailedElsewhere(LvloraError):
    """Another process of the run could not do its part, and says why; nothing is left to say."""

    def __init__(self, rank: int, exit_code: int) -> None:
        super().__init__(f"process {rank} of this run has failed; it says why")
        self.exit_code = exit_code


class Ranks:
    """This process's place among ``size``: ``rank``, from 0. Alone, nothing travels.

    Every method that all processes must call says so; called by one of them alone it waits.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_first(self) -> bool:
        """It alone writes files and the ledger, validates, and speaks."""
        return self.rank == 0

    def check(self, n_rows: int) -> None:
        """Whether there is work for all.

        Raises:
            SettingsError: a step has fewer rows than there are processes.
        """
        if n_rows < self.size:
            raise SettingsError(
                f"--batch-size times --accumulation: a step of {n_rows} sequences cannot be shared "
                f"by {self.size} processes",
                "Raise --batch-size or --accumulation, or start fewer processes.",
            )

    def share_of(self, batches: Sequence[Batch]) -> list[Batch]:
        """The rows of a step that are this process's: consecutive ones, as many as others have.

        Rows keep the width that they were padded to, so the shares cost what the whole would.
        """
        if self.size == 1:
            return list(batches)
        n_rows = sum(len(batch.inputs) for batch in batches)
        first, last = (n_rows * r // self.size for r in (self.rank, self.rank + 1))
        share, begin = [], 0
        for batch in batches:
            rows = slice(max(0, first - begin), max(0, last - begin))
            begin += len(batch.inputs)
            if len(batch.inputs[rows]):
                share.append(Batch(batch.inputs[rows], batch.targets[rows]))
        return share

    def add_up(self, parameters: Sequence[nn.Parameter], total: Tensor) -> Tensor:
        """Make each gradient the sum over all processes; returns the sum of ``total``.

        All must call it. Afterwards all hold the same bits.

        Args:
            total: a float64 number on the CPU.

        Raises:
            ProcessLost: one of them is gone.
        """
        if self.size == 1:
            return total
        # one that had no row has no gradient
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([g.detach().float().flatten() for g in own])
        whole = total.clone()
        with self._noticing_loss():
            torch.distributed.all_reduce(flat)
            torch.distributed.all_reduce(whole)
        pieces = torch.split(flat, [p.numel() for p in parameters])
        for p, piece in zip(parameters, pieces, strict=True):
            p.grad = piece.view_as(p).to(p.dtype)
        return whole

    def agreed(self, *wishes: bool) -> tuple[bool, ...]:
        """For each wish whether any process has it. All must call it with as many wishes.

        Raises:
            ProcessLost: one of them is gone.
        """
        if self.size == 1:
            return wishes
        wish_flags = torch.tensor([int(wish) for wish in wishes])
        with self._noticing_loss():
            torch.distributed.all_reduce(wish_flags, torch.distributed.ReduceOp.MAX)
        return tuple(bool(wish) for wish in wish_flags)

    def wait(self) -> None:
        """Until all have come here.

        Raises:
            ProcessLost: one of them is gone.
        """
        self.agreed(True)

    def say(self, facts: Mapping[str, Any], content: bytes = b"") -> None:
        """The first tells all others, who must `hear`.

        Raises:
            ProcessLost: one of them is gone.
        """
        if self.size > 1:
            self._broadcast(json.dumps(dict(facts)).encode())
            self._broadcast(content)

    def hear(self) -> tuple[dict[str, Any], bytes]:
        """Return the value that the first process broadcasts.

        Raises:
            FailedElsewhere: that it has failed.
            ProcessLost: it is gone.
        """
        facts: dict[str, Any] = json.loads(self._broadcast(None))
        content = self._broadcast(None)
        if _FAILED in facts:
            raise FailedElsewhere(0, int(facts[_FAILED]))
        return facts, content

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """A block of the first at whose end it would `say` something: that it failed, if it did."""
        try:
            yield
        except ProcessLost:
            raise
        except BaseException as error:
            with contextlib.suppress(LvloraError):
                self.say({_FAILED: getattr(error, "exit_code", EXIT_FAILURE)})
            raise

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A block that all must leave whole, or none does. All must enter it.

        Raises:
            FailedElsewhere: it was left by an error of another process (of several, of the lowest).
            ProcessLost: one of them is gone.
        """
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
        code = EXIT_DONE if error is None else getattr(error, "exit_code", EXIT_FAILURE)
        failed = torch.full((self.size,), EXIT_DONE)
        failed[self.rank] = code
        if self.size > 1:
            try:
                with self._noticing_loss():
                    torch.distributed.all_reduce(failed)
            except ProcessLost as lost:
                raise (error or lost) from None
        first = next((r for r, c in enumerate(failed.tolist()) if c != EXIT_DONE), None)
        if error is not None and first == self.rank:
            raise error
        if first is not None:
            raise FailedElsewhere(first, int(failed[first])) from None

    def _broadcast(self, content: bytes | None) -> bytes:
        size = torch.tensor([0 if content is None else len(content)])
        with self._noticing_loss():
            torch.distributed.broadcast(size, 0)
            data = torch.empty(int(size), dtype=torch.uint8)
            if content:
                data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
            if int(size):
                torch.distributed.broadcast(data, 0)
        return data.numpy().tobytes()

    @contextlib.contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = str(error).strip().splitlines()
            raise ProcessLost(
                f"process {self.rank} of {self.size}: another process of this run is gone "
                f"({reason[0][-120:] if reason else type(error).__name__})",
                "Its own last words say why. torchrun … train --resume goes on from the last "
                "saved step.",
            ) from error


ALONE = Ranks()
"""A run of one process."""


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """The processes that torchrun started together with this one; alone without it.

    Args:
        device: as ``--device``: on GPUs each process takes the one of its place on the machine.

    Raises:
        SettingsError: there are fewer GPUs than processes.
        ProcessLost: the others cannot be reached.
    """
    environment = {name: os.environ.get(name, "") for name in _TOLD_BY_TORCHRUN}
    if not all(environment.values()) or environment["WORLD_SIZE"] == "1":
        yield ALONE
        return
    ranks = Ranks(int(environment["RANK"]), int(environment["WORLD_SIZE"]))
    on_gpus = device in ("auto", "cuda") and torch.cuda.is_available()
    if on_gpus:
        place = int(os.environ.get("LOCAL_RANK", "0"))
        if place >= torch.cuda.device_count():
            raise SettingsError(
                f"process {ranks.rank}: there are {torch.cuda.device_count()} GPUs here, and more "
                "processes",
                "Start as many as there are GPUs (torchrun --nproc-per-node), or --device cpu.",
            )
        torch.cuda.set_device(place)
    # Its functions take the group of that moment as a default and would hold it, and its threads,
    # beyond the group's end: those abort the process while Python ends. PyTorch's compiler, say,
    # imports it later.
    from torch.distributed.nn import functional  # noqa: F401

    with ranks._noticing_loss():
        torch.distributed.init_process_group(
            _BACKENDS if on_gpus else "gloo",
            rank=ranks.rank,
            world_size=ranks.size,
            timeout=PATIENCE,
        )
    try:
        yield ranks
    except BaseException:
        # The others may be anywhere. gloo's end closes this process's connections, which is what
        # they notice, and ends its threads, which else abort the process while Python ends; NCCL's
        # may wait for the others, so there the process's end has to do.
        if not on_gpus:
            with contextlib.suppress(RuntimeError):  # what went wrong before is what counts
                torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()
