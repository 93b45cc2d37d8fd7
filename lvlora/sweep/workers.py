"""Several processes on this machine that make the trials of one study."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

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
from lvlora.narrator import Narrator
from lvlora.settings.configuration import to_toml
from lvlora.sweep.record import outcome_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.storage import folder_of
from lvlora.sweep.study import OVER, SharedStudy, state_of
from lvlora.train.process import StopRequest

PARENT_VARIABLE = "SWEEP_PARENT_OF_LVLORA"
"""Tells a process that it is a worker, and of whom; a worker whose parent died stops by itself."""

_SECONDS_BETWEEN_LOOKS = 0.5


def parent_of_this_worker() -> int | None:
    """Return the process that started this one as a worker, if one did."""
    parent = os.environ.get(PARENT_VARIABLE, "")
    return int(parent) if parent.isdigit() else None


def share(settings: SweepSettings, study: SharedStudy, narrator: Narrator) -> BudgetError | None:
    """Let several processes make the trials; returns the refusal of a limit, if one ended it.

    Raises:
        RunStopped: Ctrl-C came, and all have stopped.
        LvloraError: one failed, and trials are left.
    """
    folder = folder_of(settings)
    threads = settings.threads or max(1, cores() // settings.workers)
    logs = [folder / f"worker-{number + 1}.log" for number in range(settings.workers)]
    narrator.note(f"{settings.workers} workers with {threads} threads each; logs in {folder}")
    shown = {slot for slot, trial in study.by_slot().items() if state_of(trial) in OVER}
    with StopRequest() as stop:
        workers = [_start(settings, threads, log) for log in logs]
        is_stopping = False
        try:
            while any(worker.poll() is None for worker in workers):
                if stop.requested and not is_stopping:
                    is_stopping = True
                    _signal(workers, signal.SIGINT)
                for slot, trial in study.by_slot().items():
                    if slot not in shown and state_of(trial) in OVER:
                        shown.add(slot)
                        narrator.note(outcome_of(study, settings, trial))
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        except BaseException:
            _signal(workers, signal.SIGKILL)
            raise
    codes = {log: worker.wait() for log, worker in zip(logs, workers, strict=True)}
    if not study.unfinished():
        for log, code in codes.items():
            if code not in (EXIT_DONE, EXIT_BUDGET, EXIT_STOPPED):
                narrator.warning(f"{log}: a worker ended with {code}; the others made its trials.")
        return None
    if EXIT_STOPPED in codes.values():
        raise RunStopped(
            f"study {settings.study}: all workers have stopped; everything is saved",
            "The same command goes on.",
        )
    for log, code in codes.items():
        if code not in (EXIT_DONE, EXIT_BUDGET):
            raise LvloraError(
                f"{log}: a worker ended with {code}",
                "The log's last lines say why; the same command goes on.",
            )
    return BudgetError(
        f"study {settings.study}: the next trial does not fit into the limit",
        "The same command with a larger --max-flops (or --budget) goes on.",
    )


def _start(settings: SweepSettings, threads: int, log: Path) -> subprocess.Popen[bytes]:
    """Start a worker that writes into a log."""
    config = log.with_name("worker.toml")
    changes = {"workers": 1, "threads": threads, "storage": None}
    durable.write_text(config, to_toml("sweep", settings.model_copy(update=changes)))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("LVLORA_")}
    environment |= {
        PARENT_VARIABLE: str(os.getpid()),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        # the same package, however this process imported it
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }
    if settings.storage is not None:  # where no list of processes and no file shows its password
        environment["LVLORA_STORAGE"] = settings.storage
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "lvlora", "sweep", "--config", str(config), "--json"],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches it once, through this process
        )


def _signal(workers: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.send_signal(number)
