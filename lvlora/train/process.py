"""The processes of a run: signals and random states of this one, and what several share.

Each computes the gradient of its share of a step's rows; only the gradients of what is trained
travel, once a step. DistributedDataParallel would want equally many, equally large batches of all.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lvlora.errors import EXIT_FAILURE, LvloraError, SettingsError
from lvlora.text.windows import Batch

PATIENCE = timedelta(minutes=30)
"""The longest wait for another process: longer than a validation, which the first makes alone. One
that ends, however it ends, is noticed at once: its connections are closed."""
_BACKENDS = "cpu:gloo,cuda:nccl"
_SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_REQUESTS = (signal.SIGINT, signal.SIGTERM)
"""Always taken: a shell's background jobs, and their workers, are started with SIGINT ignored."""
_drawing = threading.Lock()
_counting = threading.Lock()
_n_inside = 0
_outside: list[tuple[Callable[[Any], object], Any]] = []
"""Setters of the process's global states, and the states before the first `undisturbed`."""


class StopRequest:
    """A context in which a first signal only sets ``requested``, and ``tell`` gets a sentence.

    Outside the main thread, where Python allows no handlers, nothing is changed.
    """

    def __init__(self, tell: Callable[[str], None] = lambda sentence: None) -> None:
        self.requested = False
        self._tell = tell
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                ignored = signal.getsignal(number) is signal.SIG_IGN
                if ignored and number not in _REQUESTS:
                    continue  # nohup, which is to outlast its terminal
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
            outer = getattr(handler, "__self__", None)
            if self.requested and isinstance(outer, StopRequest):
                outer.requested = True  # whatever runs around this must stop, too

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        if number not in _REQUESTS:
            _leave_terminal()
        self._tell("Stopping after this step, then saving; once more stops at once.")


def _leave_terminal() -> None:
    """Write no more to a terminal that is gone: every write would fail before all is saved."""
    for descriptor in (1, 2):
        # one that is gone is no terminal to isatty any more
        if stat.S_ISCHR(os.fstat(descriptor).st_mode):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a seed of one's own, one thread at a time: a process has one generator."""
    devices = [device] if device.type == "cuda" else []
    with _drawing, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Put back the process' random states and number of threads, when the last one is done."""
    global _n_inside, _outside
    with _counting:
        if _n_inside == 0:
            _outside = [
                (torch.set_num_threads, torch.get_num_threads()),
                (torch.set_rng_state, torch.get_rng_state()),
                (torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()),
                (np.random.set_state, np.random.get_state()),
                (random.setstate, random.getstate()),
            ]
        _n_inside += 1
    try:
        yield
    finally:
        with _counting, _drawing:
            _n_inside -= 1
            if _n_inside == 0:
                for setter, state in _outside:
                    setter(state)


class ProcessLost(LvloraError):
    """Another process of the run is gone; this one has made no step without it."""


class FailedElsewhere(LvloraError):
    """Another process of the run could not do its part, and says why; nothing is left to say."""

    def __init__(self, rank: int, exit_code: int) -> None:
        super().__init__(f"process {rank} of this run has failed; it says why")
        self.exit_code = exit_code


class Ranks:
    """This process's place among ``size``: ``rank``, from 0. Alone, nothing travels.

    All processes must call `all_reduce`, `any_of`, `wait`, `broadcast` and `together` in the same
    order; called by one of them alone it waits. They raise `ProcessLost` when another is gone.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_first(self) -> bool:
        """It alone writes files and the ledger, validates, and speaks."""
        return self.rank == 0

    def share_of(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return this process's rows of a step: consecutive ones, as many as others have.

        Rows keep the width that they were padded to, so the shares cost what all rows would.
        """
        n_rows = sum(len(batch.inputs) for batch in batches)
        first, last = (n_rows * r // self.size for r in (self.rank, self.rank + 1))
        share, begin = [], 0
        for batch in batches:
            rows = slice(max(0, first - begin), max(0, last - begin))
            begin += len(batch.inputs)
            if len(batch.inputs[rows]):
                share.append(Batch(batch.inputs[rows], batch.targets[rows]))
        return share

    def all_reduce(self, parameters: Sequence[nn.Parameter], total: Tensor) -> Tensor:
        """Make each gradient the sum over all processes, the same bits in all.

        Return the sum of ``total``, a float64 number on the CPU.
        """
        if self.size == 1:
            return total
        # one that had no row has no gradient
        mine = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = self._sum(torch.cat([g.detach().float().flatten() for g in mine]))
        pieces = torch.split(flat, [p.numel() for p in parameters])
        for p, piece in zip(parameters, pieces, strict=True):
            p.grad = piece.view_as(p).to(p.dtype)
        return self._sum(total.clone())

    def any_of(self, *wishes: bool) -> list[bool]:
        """Return for each wish whether any process has it."""
        return [count > 0 for count in self._sum(torch.tensor(wishes, dtype=torch.int64)).tolist()]

    def wait(self) -> None:
        """Return when all have come here."""
        self.any_of(True)

    def broadcast(self, content: bytes) -> bytes:
        """Return the content of the first process, in all."""
        if self.size == 1:
            return content
        size = self._sum(torch.tensor([len(content) if self.is_first else 0]))
        data = torch.zeros(int(size), dtype=torch.uint8)
        if self.is_first:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        with self._noticing_loss():
            torch.distributed.broadcast(data, 0)
        return data.numpy().tobytes()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make a block that all leave without an error, or none does.

        An error of another process (of several, of the lowest) is raised as `FailedElsewhere`.
        """
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:
            error = raised
        codes = torch.zeros(self.size, dtype=torch.int64)
        if error is not None:
            codes[self.rank] = getattr(error, "exit_code", EXIT_FAILURE)
        try:
            failed = [(r, c) for r, c in enumerate(self._sum(codes).tolist()) if c]
        except ProcessLost as lost:
            raise (error or lost) from None
        if failed and failed[0][0] != self.rank:
            raise FailedElsewhere(*failed[0]) from None
        if error is not None:
            raise error

    def _sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over all processes, in the tensor itself."""
        if self.size > 1:
            with self._noticing_loss():
                torch.distributed.all_reduce(tensor)
        return tensor

    @contextlib.contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ProcessLost(
                f"process {self.rank} of {self.size}: another process of this run is gone "
                f"({reason[-120:]})",
                "Its own last words say why. torchrun … train --resume goes on from the last "
                "saved step.",
            ) from error


ALONE = Ranks()
"""A run of one process."""


@contextlib.contextmanager
def joined(device: str = "auto") -> Iterator[Ranks]:
    """Join the processes that torchrun started together with this one; alone without it.

    On GPUs each process takes the one of its place on the machine.
    """
    environment = {name: os.environ.get(name, "") for name in _SET_BY_TORCHRUN}
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
