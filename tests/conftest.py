"""How every test runs the program: in this process (fast), or as a user does."""

import functools
import gc
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import hypothesis
import pytest
import typer

ROOT = Path(__file__).parents[1]

for variable in list(os.environ):
    # what the caller's shell or a CI service sets must not decide how output looks
    if variable.startswith("LVLORA_") or variable in (
        "GITHUB_ACTIONS",
        "FORCE_COLOR",
        "PY_COLORS",
        "COLUMNS",
        "NO_COLOR",
        "TERMINAL_WIDTH",
    ):
        del os.environ[variable]

if "PYTEST_XDIST_WORKER" in os.environ:
    # as many processes as cores run tests: one thread each, or they wait for one another
    os.environ["OMP_NUM_THREADS"] = "1"

# as the program itself does (lvlora/__main__.py): imports make a million objects that stay
gc.set_threshold(50_000, 20, 50)

_sync = os.fsync


def _sync_no_file(descriptor: int) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        _sync(descriptor)


# no test cuts the power, and a slow disk would have each of them wait for thousands of files
os.fsync = _sync_no_file

# a process makes its parser once, while these tests call the program some thousand times
typer.main.get_command = functools.cache(typer.main.get_command)

# how long an example takes says nothing about the code, and differs from machine to machine;
# pytest --hypothesis-profile=thorough looks longer
hypothesis.settings.register_profile("quick", deadline=None, max_examples=15)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=150)
hypothesis.settings.load_profile("quick")


def pytest_collection_finish() -> None:
    """What all test modules have imported is looked through no more: a sweep tidies up often."""
    gc.collect()
    gc.freeze()


@dataclass(frozen=True)
class Ran:
    """Exit code and output of a call of the program."""

    exit_code: int
    stdout: str
    stderr: str
    words: tuple[str, ...] = ()
    """The command line, where it was lvlora's own program."""

    @property
    def json(self) -> Any:
        """Stdout as the one JSON object it must be, of the shape that its schema tells."""
        from make_schemas import ANSWERS, answer_name

        answer = json.loads(self.stdout)
        if self.words and self.words[0] in ANSWERS:
            name = answer_name(self.words[0], self.words[1:], list(answer))
            try:
                ANSWERS[name].model_validate_json(self.stdout)
            except ValueError as error:
                raise AssertionError(
                    f"the answer is not as {ANSWERS[name].__module__} describes {name}: {error}"
                ) from None
        return answer


Run = Callable[..., Ran]
"""``run_lvlora(["train", "--rank", "4"], input="…", env={…}, code=0)``; a code is asserted."""


@pytest.fixture
def unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Futures as they are drawn, for a test that needs them to differ: a random model's are all
    beyond the bounds that a history sets."""
    import numpy as np

    from lvlora.forecast import reading

    def of_sign(values: Any, horizon: int) -> Any:
        return reading.least_values(values), np.full(values.shape[1], np.inf)

    monkeypatch.setattr(reading, "bounds_of_future", of_sign)


@pytest.fixture(scope="module")
def few_rivals() -> Iterator[None]:
    """The naive rivals stand for all, and are quick, but for tests that are about the rivals."""
    from lvlora.evaluation import scores
    from lvlora.forecast import rivals

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "default_rivals", rivals.naive_rivals)
        patch.setattr(rivals, "quick_rivals", rivals.naive_rivals)
        yield


def _checked(ran: Ran, code: int | None) -> Ran:
    assert code in (None, ran.exit_code), f"exit code {ran.exit_code}: {ran.stderr}"
    return ran


@pytest.fixture
def run_lvlora() -> Run:
    """The real command line in this process, through the error mapping of ``main``."""
    from typer.testing import CliRunner

    from lvlora.cli.program.app import app, main

    def run(
        args: Sequence[str | Path],
        input: str | bytes | None = None,
        env: Mapping[str, str | None] | None = None,
        program: typer.Typer | None = None,
        code: int | None = None,
    ) -> Ran:
        words = tuple(map(str, args))
        environment = {"COLUMNS": "80", "TERM": "dumb", **(env or {})}
        with CliRunner().isolation(input, environment) as (out, err, _):
            exit_code = main(list(words), program or app)
            sys.stdout.flush()
            sys.stderr.flush()
            texts = out.getvalue().decode(), err.getvalue().decode()
        return _checked(Ran(exit_code, *texts, () if program else words), code)

    return run


@pytest.fixture
def run_lvlora_process() -> Run:
    """The program as a process of its own: for start-up, pipes and signals."""

    def run(
        args: Sequence[str | Path],
        env: Mapping[str, str | None] | None = None,
        code: int | None = None,
    ) -> Ran:
        words = tuple(map(str, args))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
        environment |= env or {}
        done = subprocess.run(
            [sys.executable, "-m", "lvlora", *words],
            capture_output=True,
            env={name: value for name, value in environment.items() if value is not None},
            timeout=120,
        )
        return _checked(
            Ran(done.returncode, done.stdout.decode(), done.stderr.decode(), words), code
        )

    return run


@pytest.fixture
def real_figures() -> None:
    """For a test that looks into a figure: how they are drawn is the subject of tests/report."""


@pytest.fixture
def made_figures() -> None:
    """For a test of what a page is made of: its figures have their words and are not drawn."""


@pytest.fixture(autouse=True)
def _quick_figures(request: pytest.FixtureRequest) -> None:
    if "real_figures" in request.fixturenames:
        return
    request.getfixturevalue("figures_not_drawn")
    if "made_figures" not in request.fixturenames:
        request.getfixturevalue("figures_not_made")


FIGURES_OF_PAGES = {
    "lvlora.train.document": "course",
    "lvlora.evaluation.document": "errors forecast error_by_step cost",
    "lvlora.sweep.document": "error_by_flops error_by_setting",
}


@pytest.fixture
def figures_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages of runs, evaluations and sweeps have an empty figure wherever they have one: to
    build theirs takes a third of a tiny training."""

    def empty(*_: Any, **__: Any) -> Any:
        from matplotlib.figure import Figure

        return Figure()

    for module, names in FIGURES_OF_PAGES.items():
        for name in names.split():
            monkeypatch.setattr(f"{module}.{name}_figure", empty)


@pytest.fixture
def figures_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are built, and not drawn: an evaluation has some thirty, and to draw them takes
    longer than all else that it does on tiny data. An SVG has a figure's words."""
    from lvlora.report.drawing import style

    monkeypatch.setattr(style, "lay_out", lambda figure: None)
    monkeypatch.setattr(style, "render", _undrawn)


def _undrawn(figure: Any, format: str) -> bytes:
    if format != "svg":
        return {"png": b"\x89PNG\r\n\x1a\n", "pdf": b"%PDF-1.4\n"}[format]
    words = "".join(f"<text>{escape(word)}</text>" for word in _words_in(figure))
    svg = f'<svg xmlns="http://www.w3.org/2000/svg">{words}</svg>'
    return f'<?xml version="1.0"?>{svg}'.encode()


def _words_in(artist: Any) -> Iterator[str]:
    """The words of a figure that nobody has laid out: numbers at the ticks are not made for it."""
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    if isinstance(artist, Axis):
        yield artist.label.get_text()
        labels = artist.get_major_formatter()
        yield from labels.seq if isinstance(labels, FixedFormatter) else ()
        return
    if isinstance(artist, Text):
        yield artist.get_text()
    for child in artist.get_children():
        yield from _words_in(child)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``tiny_folder("qwen2")``: the folder of a tiny random model; see `tiny_models.FAMILIES`.

    Shared by all tests: read it, don't write into it.
    """
    import tiny_models

    return tiny_models.cached_writer(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture
def tiny_base(tiny_folder: Callable[[str], Path]) -> Callable[..., Any]:
    """``tiny_base("qwen2", torch.bfloat16)``: a tiny model, loaded anew; default float32.

    ``tiny_base("native qwen2")`` is one that the compiled decoder takes, and the test is skipped
    where there is none.
    """
    import tiny_models

    def load(family: str = "qwen2", *dtype: Any, **how: bool) -> Any:
        base = tiny_models.load_tiny(tiny_folder(family), *dtype, **how)
        if family.startswith(tiny_models.NATIVE):
            from lvlora.model.native import building

            if building.library(base.placement.dtype) is None:
                pytest.skip("no compiled decoder on this machine")
        return base

    return load


@pytest.fixture
def through_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forecasts are computed by PyTorch, whose counter and whose calls the test looks at."""
    from lvlora.model.native.engine import Engine

    monkeypatch.setattr(Engine, "of", lambda *_: None)
