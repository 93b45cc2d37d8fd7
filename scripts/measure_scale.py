"""Measure workers of a sweep, processes of a run, and the storage of a study.

Usage: python scripts/measure_scale.py sweep|ranks|storage FOLDER [STORAGE-URL]

Every process gets one thread. Seconds of the wall clock mean something only where nothing else runs
meanwhile; seconds of the processor are those of all processes together, and what the second process
adds to them is what working together costs.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "examples" / "simulated.h5"
STEP = (
    "--targets",
    "q_proj,v_proj",
    "--batch-size",
    4,
    "--seq-len",
    512,
    "--scale-jitter",
    0,
)
"""What a step is, whatever the program's defaults are."""
SHORT_LONG = (12, 32)
"""Steps of the two runs whose difference is measured."""
TRIALS = {"file": 240, "database": 40}
"""Trials without any training, to see what the study itself costs."""

CLAIMING = """
import sys
from pathlib import Path
from lvlora.flops.budget import Price
from lvlora.settings.training import SweepSettings
from lvlora.sweep import storage
from lvlora.sweep.facts import plan_in
from lvlora.sweep.study import SharedStudy

url = None if sys.argv[2] == "file" else sys.argv[2]
study = storage.find(SweepSettings(runs=Path(sys.argv[1]), storage=url))
board = SharedStudy(study, plan_in(study), "grid", 0)
sys.stdin.readline()  # all begin together
class Faster(Exception):
    pass

def objective(trial):
    claim = board.claim(trial)
    if claim is None:
        raise Faster
    board.price(claim, Price(10, 20))
    board.committed(trial.number)
    board.end(claim, "complete", 1.0, Price(10, 20), {})
    return 1.0

while board.unfinished():
    if board.queue():
        study.optimize(objective, n_trials=1, catch=(Faster,))
"""


def lvlora(*args: object) -> list[str]:
    """A command line of lvlora."""
    return [sys.executable, "-m", "lvlora", *map(str, args)]


def environment(**told: str) -> dict[str, str]:
    """One thread a process."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **told}


def sweep(folder: Path) -> dict[str, Any]:
    """The same six trials by one worker and by two: seconds of the trials and of the whole."""
    found = {}
    for workers in (1, 2):
        runs = folder / f"workers-{workers}"
        shutil.rmtree(runs, ignore_errors=True)
        begin, before = time.perf_counter(), processor_seconds()
        # one worker as a process of its own, too: what starting costs is in both
        ran = subprocess.run(
            lvlora(
                "sweep",
                DATA,
                "--model",
                "bundled",
                "--dtype",
                "float32",
                "--threads",
                1,
                *STEP,
                "--max-steps",
                20,
                "--validate-every",
                20,
                "--validation-series",
                2,
                "--workers",
                workers,
                "--runs",
                runs,
                "--json",
                "--quiet",
            ),
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        seconds = time.perf_counter() - begin
        rows = json.loads(ran.stdout)["table"]
        found[workers] = {
            "seconds": round(seconds, 1),
            "processor_seconds": round(processor_seconds() - before, 1),
            "seconds_in_steps": round(sum(row["seconds"] for row in rows), 1),
            "values": [row["value"] for row in rows],
        }
    same = found[1].pop("values") == found[2].pop("values")
    speedup = found[1]["seconds"] / found[2]["seconds"]
    return {"workers": found, "same results": same, "speedup": round(speedup, 2)}


def processor_seconds() -> float:
    """Of all processes that this one started and that are over."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sent_by_loopback() -> int:
    """Bytes that this machine has sent to itself."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counts = line.partition(":")
        if name.strip() == "lo":
            return int(counts.split()[8])
    raise RuntimeError("there is no loopback device")


def ranks(folder: Path) -> dict[str, Any]:
    """The same run by one process and by two: seconds and bytes of a step, from the difference of
    two lengths, without what starting costs."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    for size in (1, 2):
        for n_steps in SHORT_LONG:
            runs = folder / f"ranks-{size}-{n_steps}"
            shutil.rmtree(runs, ignore_errors=True)
            command = lvlora(
                "train",
                DATA,
                "--model",
                "bundled",
                "--dtype",
                "float32",
                "--threads",
                1,
                *STEP,
                "--max-steps",
                n_steps,
                "--no-validation",
                "--save-every",
                0,
                "--out",
                runs / "run",
                "--runs",
                runs,
                "--json",
                "--quiet",
            )
            before, used = sent_by_loopback(), processor_seconds()
            out = together(command, size)
            found[size, n_steps] = {
                "bytes": sent_by_loopback() - before,
                "processor": processor_seconds() - used,
                "seconds": median_seconds(runs / "run" / "metrics.jsonl"),
                "trained": json.loads(out)["trainable_parameters"],
            }
    short, long = SHORT_LONG

    def a_step(size: int, what: str) -> float:
        return float((found[size, long][what] - found[size, short][what]) / (long - short))

    one, two = (found[size, long]["seconds"] for size in (1, 2))
    return {
        "trained parameters": found[2, long]["trained"],
        "bytes sent a step, both processes": round(a_step(2, "bytes")),
        "seconds a step": {"1 process": one, "2 processes": two, "speedup": round(one / two, 2)},
        "processor seconds a step, all processes": {
            f"{size} process{'es' * (size > 1)}": round(a_step(size, "processor"), 3)
            for size in (1, 2)
        },
        "milliseconds of one exchange of so many bytes, 2 processes": exchanges(),
    }


EXCHANGING = """
import os, time, torch
from lvlora.train.ranks import joined
from torch import nn
torch.set_num_threads(1)
with joined("cpu") as ranks:
    for n_bytes in (4, 50_000, 500_000, 2_000_000, 8_000_000):
        one = nn.Parameter(torch.zeros(n_bytes // 4))
        one.grad = torch.ones(n_bytes // 4)
        seconds = []
        for _ in range(30):
            ranks.wait()
            begin = time.perf_counter()
            ranks.add_up([one], torch.zeros((), dtype=torch.float64))
            seconds.append(time.perf_counter() - begin)
        if ranks.is_first:
            print(n_bytes, 1000 * min(seconds))
"""


def exchanges() -> dict[str, float]:
    """Of `Ranks.add_up`, the fastest of thirty: what the other processes of a machine take away
    only makes it slower."""
    lines = together([sys.executable, "-c", EXCHANGING], 2).splitlines()
    return {n_bytes: round(float(ms), 3) for n_bytes, ms in (line.split() for line in lines)}


def together(command: Sequence[str], size: int) -> str:
    """Run a command as ``size`` processes of one run; what the first says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    told = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            command,
            env=environment(**told, RANK=str(r), LOCAL_RANK=str(r)),
            text=True,
            stdout=subprocess.PIPE,
        )
        for r in range(size)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(" ".join(command))
    return said[0]


def median_seconds(metrics: Path) -> float:
    """Of the steps after the first ten."""
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    return round(statistics.median(row["seconds"] for row in rows[10:]), 4)


def storage(folder: Path, url: str) -> dict[str, Any]:
    """Seconds that a trial costs which does nothing, by the number of processes."""
    from lvlora.flops.budget import Price
    from lvlora.settings.training import SweepSettings, TrainSettings
    from lvlora.sweep import storage as sweep_storage
    from lvlora.sweep.facts import facts_of
    from lvlora.sweep.plan import make_plan
    from lvlora.sweep.space import Range, Space
    from lvlora.sweep.stages import stages_of
    from lvlora.sweep.study import pruner
    from lvlora.train.step_plan import Cost

    found = {}
    n_trials = TRIALS["file" if url == "file" else "database"]
    for size in (1, 2, 4):
        runs = folder / f"storage-{size}"
        shutil.rmtree(runs, ignore_errors=True)
        settings = SweepSettings(
            runs=runs,
            storage=None if url == "file" else url,
            study="sweep",
            sampler="random",
            trials=n_trials,
        )
        space = Space({"learning_rate": Range(1e-5, 1e-2, log=True)})
        stages = stages_of(settings, space)
        plan = make_plan(
            stages, settings, TrainSettings(), {}, lambda _: Cost(Price(10, 20), Price(1, 2))
        )
        facts = facts_of(settings, stages, "random", "")
        sweep_storage.make(settings, plan, facts, pruner("none"))
        command = [sys.executable, "-c", CLAIMING, str(runs), url]
        workers = [
            subprocess.Popen(command, stdin=subprocess.PIPE, env=environment()) for _ in range(size)
        ]
        time.sleep(20)  # until all have read the study
        begin = time.perf_counter()
        for process in workers:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            process.stdin.flush()
        for process in workers:
            process.wait()
        seconds = time.perf_counter() - begin
        if url != "file":
            from optuna import delete_study

            delete_study(study_name="sweep", storage=url)
        found[size] = {
            "trials a second": round(n_trials / seconds, 1),
            "milliseconds a trial": round(1000 * seconds / n_trials, 1),
        }
    return found


def main(what: str, folder: Path, url: str = "file") -> None:
    """Measure and print."""
    folder.mkdir(parents=True, exist_ok=True)
    measured = {"sweep": sweep, "ranks": ranks}
    found = storage(folder, url) if what == "storage" else measured[what](folder)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:4])
