"""Sharing a slow rival's series among processes.

Only where it helps: a rival forecasts its first series here, and the others too if they would take
no longer than starting processes does.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from types import TracebackType
from typing import Self

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.contract import Prediction, Rival

WORTH_SECONDS = 4.0
"""Expected work from which processes are started; each takes one to two seconds to begin."""

Work = tuple[FloatArray, FloatArray, int, str, FloatArray | None]
"""Times, history, number of samples, name and known columns of a series: the arguments of
`Rival.predict`."""


class RivalProcesses:
    """Up to ``n_processes`` processes, started when first needed, ended with the block."""

    def __init__(self, n_processes: int, *, worth_seconds: float = WORTH_SECONDS) -> None:
        self._n = n_processes
        self._worth = worth_seconds
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def predictions(
        self, rival: Rival, work: Sequence[Work]
    ) -> Iterator[tuple[int, Prediction, float]]:
        """Forecast all of it with a fitted rival.

        Yields:
            position in ``work``, prediction, and the seconds it took, as they are finished.
        """
        begin = time.perf_counter()
        for at, problem in enumerate(work):
            spent = time.perf_counter() - begin
            if self._n > 1 and at and spent / at * (len(work) - at) > self._worth:
                yield from self._shared(rival, work, at)
                return
            yield (at, *_timed(rival, problem))

    def _shared(
        self, rival: Rival, work: Sequence[Work], first: int
    ) -> Iterator[tuple[int, Prediction, float]]:
        if self._pool is None:
            # a fork would copy the threads' locks of numerical libraries, held or not
            self._pool = ProcessPoolExecutor(
                self._n, multiprocessing.get_context("spawn"), initializer=_start
            )
        with _unheard():
            futures: dict[Future[tuple[Prediction, float]], int] = {
                self._pool.submit(_timed, rival, work[at]): at for at in range(first, len(work))
            }
        try:
            while futures:
                for done in wait(futures, return_when=FIRST_COMPLETED).done:
                    yield (futures.pop(done), *done.result())
        finally:
            for future in futures:
                future.cancel()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Start processes that ignore Ctrl-C, even while they start: the parent handles it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _timed(rival: Rival, work: Work) -> tuple[Prediction, float]:
    begin = time.perf_counter()
    prediction = rival.predict(*work)
    return prediction, time.perf_counter() - begin


def _start() -> None:
    """In each process: one thread, and no life after the parent."""
    # comes with scikit-learn, without types
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threadpool_limits(1)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
