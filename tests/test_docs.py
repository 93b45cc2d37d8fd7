"""What the documentation says is what the program does.

A block marked ```console shows what is typed after ``$``. Every such command is run, in the order
of its page, in a folder that has the examples; of a line with ``&&`` each part is a command. No
other block may show a command of lvlora.
"""

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import programs
import pytest
from test_imports import EVERYWHERE, ROOMS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "examples" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "notes").glob("*.md")),
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]
STORIES = {ROOT / "docs" / "tutorial.md", *(ROOT / "docs" / "howto").glob("*.md")}
"""Pages that are one story, whose every command needs those before it: run whole, with -m slow."""

SETUP = (
    *("git clone", "cd ", "python -m venv", "python3 -m venv", "python -m pip", "pip install"),
    *(". .venv/bin/activate", "source .venv/bin/activate", "python -m pytest", "pytest", "ruff"),
    *("mypy", "python -m build"),
)
"""Beginnings of the commands that prepare a machine; they are shown and not run."""

SLOW = (
    *(
        f"lvlora {name}"
        for name in "train sweep experiment baseline evaluate export report".split()
    ),
    "lvlora forecast examples/trajectory.csv --horizon 5 --model merged",
    "lvlora forecast examples/trajectory.csv --horizon 10 --samples 10 --adapter none --calibrated",
    "lvlora forecast examples/trajectory.csv --samples 50",
    "lvlora forecast examples/trajectory.csv --horizon 20 --samples 10 --forecaster auto",
)
"""Beginnings of the commands that train or score, and of those that need a trained run: these are
run with -m slow, as are some that only take their time, together with all others of their page.
With --dry-run they are quick."""


@dataclass(frozen=True)
class Line:
    """A command that is typed, with where it stands."""

    page: Path
    number: int
    command: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}: {self.command}"

    def begins_with(self, beginnings: tuple[str, ...]) -> bool:
        # LVLORA_RANK=4 lvlora train; cat x.csv | lvlora forecast -
        words = re.sub(r"^(\w+=\S+ )+", "", self.command)
        parts = [words, *(part.strip() for part in words.split("|")[1:])]
        return any(part.startswith(beginnings) for part in parts)

    @property
    def is_slow(self) -> bool:
        return self.begins_with(SLOW) and "--dry-run" not in self.command.split()


def _blocks(page: Path) -> list[tuple[str, int, list[str]]]:
    """(language, number of the first line, lines) of every fenced block."""
    blocks: list[tuple[str, int, list[str]]] = []
    language: str | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and language is None:
            language = fence[1]
            blocks.append((language, number + 1, []))
        elif fence:
            language = None
        elif language is not None:
            blocks[-1][2].append(line.strip())
    assert language is None, f"{page}: a block is not closed"
    return blocks


def typed(page: Path) -> list[Line]:
    """The commands after ``$``; a line that ends with a backslash goes on."""
    lines_typed: list[Line] = []
    for language, first, lines in _blocks(page):
        if language != "console":
            continue
        command, begun = "", 0
        for number, line in enumerate(lines, first):
            if command:
                command += " " + line
            elif line.startswith("$ "):
                command, begun = line[2:], number
            if command.endswith("\\"):
                command = command[:-1].rstrip()
            elif command:
                for part in command.split(" && "):
                    lines_typed.append(Line(page, begun, part.strip().removeprefix(".venv/bin/")))
                command = ""
    return lines_typed


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_shown_command_is_one_that_can_be_run(page):
    for line in typed(page):
        known = line.begins_with((*SETUP, "lvlora ", "python examples/"))
        assert known, f"{line.where}: is neither a command of lvlora nor in SETUP"
    for language, first, lines in _blocks(page):
        if language != "console":
            shown = [line for line in lines if re.match(r"(\$ )?lvlora ", line)]
            assert not shown, f"{_name(page)}:{first}: show {shown[0]!r} in a ```console block"


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder that has the examples, without network, cache or settings of the user."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / ".cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def shell(place):
    """Runs a shown line as a shell does."""
    programs = place / ".programs"
    programs.mkdir()
    for name, words in {"lvlora": "-m lvlora ", "python": ""}.items():
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {words}"$@"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "80",
    }

    def run(line: Line) -> None:
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail; {line.command}"],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, f"{line.where}\n{done.stdout}\n{done.stderr}"

    return run


@pytest.fixture
def quick_shell(shell, run_lvlora):
    """The same within this process, where nothing but lvlora is called: torch is imported once."""

    def run(line: Line) -> None:
        words = shlex.split(line.command, comments=True)
        if words[0] != "lvlora" or set("|;<>&$*`") & set("".join(words)):
            shell(line)
            return
        run_lvlora(words[1:], code=0)

    return run


def _lines_to_run(page: Path) -> list[Line]:
    return [line for line in typed(page) if not line.begins_with(SETUP)]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if _lines_to_run(p) and p not in STORIES], ids=_name
)
def test_shown_commands_run(quick_shell, page):
    for line in _lines_to_run(page):
        if not line.is_slow:
            quick_shell(line)


def _has_slow_lines(page: Path) -> bool:
    lines = _lines_to_run(page)
    return any(line.is_slow for line in lines) or (page in STORIES and bool(lines))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", [p for p in PAGES if _has_slow_lines(p)], ids=_name)
def test_shown_commands_run_with_the_slow_ones(shell, page):
    for line in _lines_to_run(page):
        shell(line)


def test_lines_are_found_as_they_are_typed(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "x.md"
    page.write_text(
        "$ not in a block\n```console\n$ pip install . && .venv/bin/lvlora doctor\nits output\n"
        "$ lvlora flops \\\n    --rank 4\n$ LVLORA_RANK=4 lvlora train\n"
        "$ cat a.csv | lvlora sweep -\n$ lvlora sweep --dry-run\n```\n```python\n$ x\n```\n"
    )
    lines = typed(page)
    assert [(line.number, line.command) for line in lines] == [
        (3, "pip install ."),
        (3, "lvlora doctor"),
        (5, "lvlora flops --rank 4"),
        (7, "LVLORA_RANK=4 lvlora train"),
        (8, "cat a.csv | lvlora sweep -"),
        (9, "lvlora sweep --dry-run"),
    ]
    assert [line.is_slow for line in lines] == [False, False, False, True, True, False]
    assert [line.begins_with(SETUP) for line in lines] == [True, *[False] * 5]


def test_the_reference_is_what_the_commands_say():
    script = programs.load("scripts/make_cli_docs.py")
    assert script.FILE.read_text(encoding="utf-8") == script.text(), (
        "docs/cli.md is behind the commands: run python scripts/make_cli_docs.py"
    )


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_to_files_and_headings_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"\b(?:tests|scripts|benchmarks|lvlora)/[\w/.-]+\.(?:py|toml)\b", text)
    assert not [path for path in paths if not (ROOT / path).is_file()]
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, heading = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.exists(), f"{_name(page)} links to {target}, which is not there"
        if heading:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {_anchor(words) for words in headings}
            assert heading in anchors, f"{_name(page)} links to {target}: no such heading"


def _anchor(heading: str) -> str:
    """GitHub's rule."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_the_rooms_are_as_contributing_draws_them():
    """Its tables and its picture name every folder of the package, and who may import whom."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)/` \|[^|]*\|[^|]*\| ([^|]*) \|$", text, re.MULTILINE)
    drawn = {room: set(re.findall(r"`(\w+)`", imports)) for room, imports in rows}
    package = ROOT / "lvlora"
    assert set(drawn) == {p.name for p in package.iterdir() if (p / "__init__.py").is_file()}
    assert drawn == {room: ROOMS[room] - EVERYWHERE - {"errors"} for room in drawn}
    (picture,) = (block for _, _, block in _blocks(ROOT / "CONTRIBUTING.md") if "lvlora/" in block)
    folders = {p.parent.name for p in package.rglob("__init__.py")}
    assert set(re.findall(r"\b(\w+)/", "\n".join(picture))) == folders


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_files_that_a_page_names_are_there(page):
    """Those of the tests, scripts, benchmarks and the package, by their paths from the root."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:tests|scripts|benchmarks|lvlora)/[\w/.-]+\.(?:py|toml)\b", text))
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_what_contributing_names_is_there():
    """Files and folders by their paths, verbs in their modules, answers in their rooms."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    elsewhere = re.sub(r"^\| `\w+/` \|.*$", "", text, flags=re.MULTILINE)
    named = set(re.findall(r"`([\w/.]*/[\w/.]*|\w+\.py)`", elsewhere))
    homes = [ROOT, ROOT / "lvlora", ROOT / "scripts"]
    missing = [name for name in named if not any((home / name).exists() for home in homes)]
    assert not missing
    rows = re.findall(r"^\| `(\w+)/` \| ([^|]*)\| ([^|]*)\|", text, re.MULTILINE)
    assert len(rows) == 12
    for room, verbs, answers in rows:
        home = ROOT / "lvlora" / room
        for names, module in re.findall(r"((?:`\w+`(?:, )?)+) \(`([\w/.]+)`\)", verbs):
            code = (home / module).read_text(encoding="utf-8")
            absent = [n for n in re.findall(r"\w+", names) if f"\ndef {n}(" not in code]
            assert not absent, f"{room}/{module} has no {absent}"
        code = "".join(path.read_text(encoding="utf-8") for path in home.glob("*.py"))
        for name in re.findall(r"`(\w+)`", answers):
            assert f"\nclass {name}(" in code, f"{room}: {name}"


def test_the_changelog_knows_every_command():
    from lvlora import __version__
    from lvlora.cli.program.root import COMMANDS

    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{__version__}]" in text
    missing = [name for name in COMMANDS if f"`lvlora {name}`" not in text]
    assert not missing, f"CHANGELOG.md says nothing of {missing}"
