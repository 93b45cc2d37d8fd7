"""Several processes of one sweep on this machine: started, watched, stopped together."""

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

from lvlora import durable
from lvlora.errors import (
    EXIT_BUDGET,
    EXIT_DONE,
    EXIT_STOPPED,
    BudgetError,
    LvloraError,
    RunStopped,
)
from lvlora.model.devices import cores
from lvlora.settings.configuration import to_toml
from lvlora.settings.training import SweepSettings
from lvlora.sweep.loop import tell
from lvlora.sweep.narrator import SweepNarrator
from lvlora.sweep.storage import folder_of
from lvlora.sweep.study import OVER, SharedStudy, state_of
from lvlora.train.process import StopRequest

PARENT_VARIABLE = "SWEEP_PARENT_OF_LVLORA"
"""Tells a process that it is a worker, and of whom; a worker whose parent died stops by itself."""

_SECONDS_BETWEEN_LOOKS = 0.5
_EXPECTED = (EXIT_DONE, EXIT_BUDGET, EXIT_STOPPED)


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


def share(
    settings: SweepSettings, study: SharedStudy, narrator: SweepNarrator
) -> BudgetError | None:
    """Let several processes make the trials; returns the refusal of a limit, if one ended it.

    Raises:
        RunStopped: Ctrl-C came, and all have stopped.
        LvloraError: one ended otherwise than it should, and trials are left.
    """
    folder = folder_of(settings)
    threads = settings.threads or max(1, cores() // settings.workers)
    theirs = settings.model_copy(update={"workers": 1, "threads": threads, "storage": None})
    config = folder / "worker.toml"
    durable.write_text(config, to_toml("sweep", theirs))
    narrator.note(f"{settings.workers} workers with {threads} threads each; logs in {folder}")
    told = {trial.number for trial in study.records() if state_of(trial) in OVER}

    def look() -> None:
        for trial in study.records():
            if trial.number not in told and state_of(trial) in OVER:
                told.add(trial.number)
                tell(narrator, study, settings, trial)

    with StopRequest() as stop:
        ended = _run(
            config,
            settings.workers,
            threads,
            settings.storage,
            folder,
            look,
            lambda: stop.requested,
        )
    codes = [code for code, _ in ended]
    if study.unfinished() and EXIT_STOPPED in codes:
        raise RunStopped(
            f"study {settings.study}: all workers have stopped; everything is saved",
            "The same command goes on.",
        )
    for code, log in ended:
        if code not in _EXPECTED:
            message = f"{log}: a worker ended with {code}"
            if study.unfinished():
                raise LvloraError(
                    message, "The log's last lines say why; the same command goes on."
                )
            narrator.warning(f"{message}; the others made its trials.")
    if study.unfinished() and EXIT_BUDGET in codes:
        return BudgetError(
            f"study {settings.study}: the next trial does not fit into the limit",
            "The same command with a larger --max-flops (or --budget) goes on.",
        )
    return None


def _run(
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
