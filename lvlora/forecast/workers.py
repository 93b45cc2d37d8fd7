"""Work that processes of this machine, or the workers of a cluster, share: joblib does it.

Who calls the program from Python may choose another backend by `joblib.parallel_config`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from lvlora.errors import LvloraError, SettingsError

WORTH_SECONDS = 4.0
"""Expected work from which it is shared; a process takes one to two seconds to begin."""
_WAITING_SECONDS = 30
_T = TypeVar("_T")


@contextlib.contextmanager
def processes(n: int) -> Iterator[None]:
    """Let `shared` work in up to n processes, started when first needed.

    A backend that the caller has chosen stays; so does the single process of a cluster's worker.
    """
    import joblib  # type: ignore[import-untyped]

    backend, n_jobs = joblib.parallel.get_active_backend()
    if n_jobs is not None or not isinstance(backend, joblib.parallel.LokyBackend):
        yield
        return
    with joblib.parallel_config(
        "loky",
        n_jobs=n,
        inner_max_num_threads=1,
        max_nbytes=None,  # memory maps are read-only, which some rivals cannot work on
        initializer=_end_with_parent,
        initargs=(os.getpid(),),
    ):
        yield


def _end_with_parent(parent: int) -> None:
    """Let this process end soon after a killed parent; joblib's would wait for five minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def cluster(scheduler: str | None) -> Iterator[int]:
    """Let `shared` work on a cluster inside the block; gives the pieces that are made at once.

    Raises:
        LvloraError: the cluster cannot be reached.
        SettingsError: dask is not installed.
    """
    if scheduler is None:
        yield 1
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise SettingsError(
            "--scheduler needs dask's distributed", "pip install 'lvlora[cluster]'"
        ) from None
    import joblib

    try:
        client: Any = Client(  # type: ignore[no-untyped-call]
            scheduler, timeout=_WAITING_SECONDS, set_as_default=False
        )
        client.wait_for_workers(1, timeout=_WAITING_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise LvloraError(
            f"--scheduler {scheduler}: no workers can be reached ({error})",
            "Start dask scheduler and dask worker first; see docs/howto/cluster.md.",
        ) from None
    with client, joblib.parallel_config("dask", n_jobs=-1, client=client):
        # joblib hands out twice as many pieces as there are threads
        yield 2 * sum(client.nthreads().values())


def shared(
    work: Callable[..., _T], pieces: Iterable[tuple[Any, ...]], *, in_order: bool = True
) -> Generator[_T, None, None]:
    """Do pieces of work where the enclosing `processes` or `cluster` say, else here.

    Results come as they are finished, or in the order of the pieces. Closing the generator
    ends the work.

    Args:
        work: a function of a module; pieces: its arguments.

    Raises:
        LvloraError: a process was killed.
    """
    import joblib
    from joblib.externals.loky.process_executor import (  # type: ignore[import-untyped]
        TerminatedWorkerError,
    )

    return_as = "generator" if in_order else "generator_unordered"
    parallel = joblib.Parallel(return_as=return_as, batch_size=1)
    results = parallel(joblib.delayed(work)(*piece) for piece in pieces)
    try:
        for result in results:  # noqa: UP028  # yield from would close it with a warning
            yield result
    except TerminatedWorkerError:
        raise LvloraError(
            "A process that shared the work was killed.",
            "It may have run out of memory: use fewer --workers, or one machine with more memory.",
        ) from None
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what was not finished is not wanted
            results.close()


def single(work: Callable[..., _T], *arguments: Any) -> _T:
    """Do work in one process: a worker of a cluster starts no others."""
    import joblib

    with joblib.parallel_config("sequential"):
        return work(*arguments)
