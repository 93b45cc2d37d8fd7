"""Several processes of one sweep on this machine: started, watched, stopped together.

Knows: processes and signals. Does not know: what they compute; they share the study and the ledger.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lvlora.errors import EXIT_BUDGET, EXIT_DONE, EXIT_STOPPED

PARENT_VARIABLE = "SWEEP_PARENT_OF_LVLORA"
"""Tells a process that it is a worker, and of whom; a worker whose parent died stops by itself."""

_SECONDS_BETWEEN_LOOKS = 0.5
EXPECTED = (EXIT_DONE, EXIT_BUDGET, EXIT_STOPPED)


@dataclass
class Worker:
    """A started process, and the file that it speaks into."""

    process: subprocess.Popen[bytes]
    log: Path
    stream: IO[bytes]


def parent_of_this_worker() -> int | None:
    """The process that started this one as a worker, if one did."""
    given = os.environ.get(PARENT_VARIABLE, "")
    return int(given) if given.isdigit() else None


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_workers(
    config: Path,
    n_workers: int,
    threads: int,
    storage: str | None,
    folder: Path,
    look: Callable[[], None],
    stop_requested: Callable[[], bool],
) -> list[tuple[int, Path]]:
    """Start the workers and wait for all; returns the exit code and the log of each.

    Args:
        config: their settings.
        threads: CPU threads of each.
        storage: the storage URL, handed over where no list of processes shows it.
        look: called now and then while they work.
        stop_requested: whether Ctrl-C came; it is passed on once.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LVLORA_")}
    environment |= {
        PARENT_VARIABLE: str(os.getpid()),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # the same package, however this process found it
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    if storage is not None:
        environment["LVLORA_STORAGE"] = storage
    command = [sys.executable, "-m", "lvlora", "sweep", "--config", str(config), "--json"]
    workers: list[Worker] = []
    try:
        for number in range(n_workers):
            log = folder / f"worker-{number + 1}.log"
            stream = log.open("wb")
            # a session of its own: Ctrl-C reaches it once, through this process
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            workers.append(Worker(process, log, stream))
        told = False
        while any(worker.process.poll() is None for worker in workers):
            if stop_requested() and not told:
                told = True
                _tell(workers, signal.SIGINT)
            look()
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except BaseException:
        _tell(workers, signal.SIGKILL)
        raise
    finally:
        for worker in workers:
            worker.process.wait()
            worker.stream.close()
    return [(worker.process.returncode, worker.log) for worker in workers]


def _tell(workers: list[Worker], number: signal.Signals) -> None:
    for worker in workers:
        if worker.process.poll() is None:
            worker.process.send_signal(number)
