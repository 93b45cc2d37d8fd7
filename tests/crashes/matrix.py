"""Kill a command at every crash point, do what a user would do next, and look for what was lost.

    python tests/crashes/matrix.py --work train --every 3

Every victim is a forked process that dies by SIGKILL; so is everyone who repairs. Prints one JSON
object: for each work its crash points, kills and losses.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "pretrain"))

import ledgers
import tiny_models
import tiny_runs
from crashes.points import Points

from lvlora.answers import Price
from lvlora.cli.program.app import main as lvlora
from lvlora.flops.ledger import Ledger
from lvlora.report.page import PAGE

MODEL = ["--model", "model", "--dtype", "float32", "--threads", "1"]
TRAIN = [
    *MODEL,
    *"--rank 2 --batch-size 2 --seq-len 48 --decimals 1 --learning-rate 1e-2".split(),
    *("--validation-series", "1"),
]
RUN = ["--max-steps", "4", "--save-every", "2", "--validate-every", "2"]


def run(*args: str) -> int:
    """The program in this process, silent; its exit code."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as e:
        code = lvlora(list(args))
    if "Traceback" in e.getvalue() or "unforeseen" in e.getvalue():
        raise AssertionError(e.getvalue())
    if code:
        print(f"lvlora {' '.join(args)}: exit code {code}\n{e.getvalue()}", file=sys.stderr)
    return code


class Work:
    """What is killed, and what must be true afterwards; all of it in the working folder."""

    do: Callable[[], None]  # killed somewhere
    facts: Callable[[], Any]  # the same afterwards as if nothing had happened

    def prepare(self) -> None:
        pass

    def killed(self) -> None:
        """Assert what must be true right after the kill."""

    def repair(self) -> None:
        """Do what a user does next."""
        self.do()


def charged() -> Price:
    with Ledger.for_runs(Path("runs")) as ledger:
        return ledger.charged()


def settled() -> None:
    with Ledger.for_runs(Path("runs")) as ledger:
        assert {row.status for row in ledger.rows()} <= {"settled", "closed"}, "left open"


def no_parts(folder: str = ".") -> None:
    parts = [p for p in Path(folder).rglob(".*") if p.suffix in (".part", ".old")]
    assert not parts, f"left behind: {parts}"


class Train(Work):
    """A run; repaired by --resume, or by the same command where there is no run yet."""

    def do(self) -> None:
        assert run("train", "data.csv", *TRAIN, *RUN, "--out", "runs/r") == 0

    def killed(self) -> None:
        for adapter in ("adapter", "adapter-last"):
            weights = Path("runs/r", adapter, "adapter_model.safetensors")
            if weights.exists():
                from lvlora.model.loading import read_safetensors

                read_safetensors(weights)  # whole

    def repair(self) -> None:
        if Path("runs/r/config.toml").is_file():
            assert run("train", "--resume", "runs/r") == 0
        else:
            self.do()

    def facts(self) -> Any:
        settled()
        no_parts("runs/r")
        result = json.loads(Path("runs/r/result.json").read_text())
        assert charged().executed >= result["flops"]["executed"], "not all was charged"
        return [
            tiny_runs.weights(Path("runs/r")),
            tiny_runs.weights(Path("runs/r"), "adapter-last"),
            tiny_runs.steps_of(Path("runs/r")),
            result["validation"],
            result["best_step"],
            Path("runs/latest").read_text(),
        ]


class Sweep(Work):
    """A study of two trials; the same command goes on."""

    def prepare(self) -> None:
        Path("space.toml").write_text("rank = [1, 2]\n")

    def do(self) -> None:
        flags = [*MODEL, *TRAIN[TRAIN.index("--batch-size") :]]
        args = ["--max-steps", "2", "--save-every", "1", "--validate-every", "2"]
        assert run("sweep", "data.csv", *flags, *args, "--space", "space.toml") == 0

    def facts(self) -> Any:
        settled()
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            assert lvlora(["sweep", "--status", "--json"]) == 0
        table = json.loads(out.getvalue())["table"]
        spent = [
            json.loads(p.read_text())["flops"]["executed"]
            for p in Path("runs/sweep").glob("trial-*/result.json")
        ]
        assert charged().executed >= sum(spent), "not all was charged"
        return [
            [
                [row[k] for k in ("trial", "params", "mae", "loss", "steps", "state")]
                for row in table
            ],
            sorted(tiny_runs.weights(p) for p in Path("runs/sweep").glob("trial-*")),
        ]


class Output(Work):
    """A command that replaces a file: the old one or the new one, and the same again."""

    args: tuple[str, ...]
    files: tuple[str, ...]
    old = b"old\n"

    def prepare(self) -> None:
        for file in self.files:
            Path(file).write_bytes(self.old)

    def do(self) -> None:
        assert run(*self.args) == 0

    def killed(self) -> None:
        for file in self.files:
            content = Path(file).read_bytes()
            assert content == self.old or self.is_whole(content), f"{file} is half-written"

    def is_whole(self, content: bytes) -> bool:
        lines = content.decode().splitlines()
        return content.endswith(b"\n") and len({line.count(",") for line in lines}) == 1

    def facts(self) -> Any:
        if Path("runs/ledger.sqlite").exists():
            charged()
        return [Path(file).read_bytes().hex() for file in self.files]


class Simulate(Output):
    args = ("simulate", "new.h5", "--overwrite", "--n-series", "3", "--n-steps", "12")
    files = ("new.h5",)

    def is_whole(self, content: bytes) -> bool:
        from lvlora.data.files import read_dataset
        from lvlora.settings.shared import InputSettings

        return len(read_dataset(Path("new.h5"), InputSettings())) == 3


class SimulateCsv(Output):
    args = ("simulate", "new.csv", "--overwrite", "--n-series", "3", "--n-steps", "12")
    files = ("new.csv",)


class Forecast(Output):
    args = (
        *("forecast", "data.csv", *MODEL, "--adapter", "none", "--decimals", "1", "-n", "2"),
        *("--samples", "2", "--series", "s0", "--output", "f.csv", "--samples-out", "s.csv"),
        "--overwrite",
    )
    files = ("f.csv", "s.csv")


class Scores(Output):
    """Their times differ; the rest is the same, and nothing is scored twice."""

    def facts(self) -> Any:
        rows = [line.split(",") for line in Path(self.files[0]).read_text().splitlines()]
        timed = rows[0].index("seconds")
        with Ledger.for_runs(Path("runs")) as ledger:
            spent = [row.charged.executed for row in ledger.rows()]
        assert self.args[0] == "baseline" or max(spent) > 0
        return [[cell for i, cell in enumerate(row) if i != timed] for row in rows]


class Evaluate(Scores):
    args = (
        *("evaluate", "data.csv", *MODEL, "--adapter", "none", "--decimals", "1"),
        *("--context", "6", "--horizon", "2", "--samples", "2", "--limit", "1", "--no-rivals"),
        *("--output", "e.csv", "--overwrite"),
    )
    files = ("e.csv",)


class Baseline(Scores):
    args = (
        *("baseline", "data.csv", "--no-model", "--context", "6", "--horizon", "2"),
        *("--limit", "1", "--output", "b.csv", "--overwrite"),
    )
    files = ("b.csv",)


class Export(Work):
    """Two folders that replace older ones: there, whole, or not there."""

    def prepare(self) -> None:
        assert run("train", "data.csv", *TRAIN, *RUN, "--no-validation", "--out", "runs/r") == 0
        self.do()

    def do(self) -> None:
        both = ("--merged", "merged", "--peft", "adapter", "--overwrite")
        assert run("export", "runs/r", *both) == 0

    def killed(self) -> None:
        from lvlora.model.loading import read_safetensors

        for file in ("merged/model.safetensors", "adapter/adapter_model.safetensors"):
            if Path(file).parent.exists():
                read_safetensors(Path(file))

    def facts(self) -> Any:
        return {
            str(file): file.read_bytes().hex()
            for folder in ("merged", "adapter")
            for file in sorted(Path(folder).rglob("*"))
        }


class LedgerWork(Work):
    """Reserve, update, settle; what was acknowledged is charged, and never passes the budget."""

    BUDGET = 100

    def do(self) -> None:
        Path("said").write_text("0")
        with Ledger.for_runs(Path("runs")) as ledger:
            ledger.set_budget(self.BUDGET, "executed")
            for i in range(6):
                held = ledgers.reserve(ledger, 12, 12, f"r{i}", unit=Price(4, 4))
                for spent in (4, 8):
                    ledger.record(held, Price(spent, spent))
                    self._say(i * 10 + spent)
                ledgers.settle(ledger, held, 10, 10)
                self._say(i * 10 + 10)

    def _say(self, spent: int) -> None:
        """Acknowledge it: from now on it must be charged."""
        handle = os.open("said", os.O_WRONLY)
        os.write(handle, b"%d" % spent)
        os.close(handle)

    def killed(self) -> None:
        if not Path("said").exists():
            return
        spent = int(Path("said").read_text())
        with Ledger.for_runs(Path("runs")) as ledger:
            assert ledger.charged().executed >= spent, "what was spent is not charged"
            assert ledger.charged().executed <= self.BUDGET

    def repair(self) -> None:
        with Ledger.for_runs(Path("runs")) as ledger:
            for row in ledger.rows():
                if row.status == "open":
                    ledger.close(row.run)
        self.killed()

    def facts(self) -> Any:
        with Ledger.for_runs(Path("runs")) as ledger:
            rows = ledger.rows()
        assert all(row.status in ("settled", "closed") for row in rows)
        assert all(row.spent.executed in (4, 8, 10, 12) for row in rows)
        return None


WORKS: dict[str, type[Work]] = {
    "ledger": LedgerWork,
    "simulate": Simulate,
    "simulate-csv": SimulateCsv,
    "baseline": Baseline,
    "forecast": Forecast,
    "evaluate": Evaluate,
    "export": Export,
    "train": Train,
    "sweep": Sweep,
}


def in_child(place: Path, do: Callable[[], Any]) -> tuple[int, str]:
    """Do something in a forked process and a folder; its wait status and what it wrote."""
    with tempfile.TemporaryFile() as stderr:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(stderr.fileno(), 2)
                os.chdir(place)
                actual = do()
                os.write(2, json.dumps(actual).encode())
                code = 0
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}"[:2000].encode())
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        stderr.seek(0)
        return status, stderr.read().decode(errors="replace")


def at_point(work: Work, at: int) -> list[str]:
    """Do the work with a crash point; return the points passed."""
    points = Points(at)
    points.install()
    work.do()
    return points.passed


def afterwards(work: Work, is_killed: bool) -> Any:
    if is_killed:
        work.killed()
        work.repair()
    return work.facts()


def matrix(work: Work, template: Path, root: Path, every: int, phase: int) -> dict[str, Any]:
    """Every ``every``-th crash point of a work, from number ``phase``."""
    began = time.monotonic()

    def place(name: str) -> Path:
        shutil.copytree(template, root / name, symlinks=True)
        return root / name

    status, stderr = in_child(place("whole"), lambda: at_point(work, 0))
    assert status == 0, stderr
    points = json.loads(stderr)
    status, expected = in_child(root / "whole", lambda: afterwards(work, False))
    assert status == 0, expected
    kills, losses = 0, []
    for at in range(1 + phase % every, len(points) + 1, every):
        here = place(str(at))
        status, stderr = in_child(here, partial(at_point, work, at))
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9):
            losses.append(f"{at} {points[at - 1]}: was not killed: {stderr}")
            continue
        kills += 1
        status, actual = in_child(here, partial(afterwards, work, True))
        if status != 0 or actual != expected:
            losses.append(f"{at} {points[at - 1]}: {actual[:1500]}")
        else:
            shutil.rmtree(here)
    return {
        "points": len(points),
        "kills": kills,
        "losses": losses,
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Run the matrix of some works."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", choices=WORKS, action="append")
    parser.add_argument("--every", type=int, default=1, help="only every n-th crash point")
    parser.add_argument("--phase", type=int, default=0, help="which of them is the first")
    args = parser.parse_args()
    warm_up()
    actual = {}
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        for word in args.work or WORKS:
            work, root = WORKS[word](), Path(name) / word
            template = root / "template"
            (template / "runs").mkdir(parents=True)
            tiny_runs.write_csv(template / "data.csv", tiny_runs.dataset())
            tiny_models.write(template / "model", "qwen2")
            status, stderr = in_child(template, work.prepare)
            assert status == 0, stderr
            actual[word] = matrix(work, template, root, args.every, args.phase)
            shutil.rmtree(root)
    print(json.dumps(actual, indent=1))


def warm_up() -> None:
    """Import what the children need, so that each costs little; and leave out their pictures."""
    import h5py  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import optuna  # noqa: F401
    import sklearn.cluster  # noqa: F401
    import transformers.models.qwen2.modeling_qwen2  # noqa: F401
    from optuna.storages.journal import JournalFileOpenLock

    import lvlora.evaluation.evaluate as evaluation_page
    import lvlora.sweep.search as sweep_search
    from lvlora.train import document, fine_tune

    # Optuna takes a dead process's lock away after 30 s; the same happens here after one
    JournalFileOpenLock.__init__.__defaults__ = (1,)
    for module in (document, fine_tune):
        module.draw_run = lambda folder: [folder / PAGE]
    evaluation_page.draw_evaluation = lambda folder, record: []
    sweep_search.write_page = lambda path, *args: [path]
    random.seed(0)
    for command in ("train", "sweep", "forecast", "simulate", "export", "evaluate", "baseline"):
        with contextlib.redirect_stdout(io.StringIO()):
            lvlora([command, "--help"])


if __name__ == "__main__":
    main()
