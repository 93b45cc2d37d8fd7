"""Programs beside the package: what they take from it is there, and each is told of."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(
    path
    for folder in ("scripts", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
)


def _taken(text: str) -> Iterator[tuple[str, str]]:
    """(module, name) of each import from the package, those of programs in strings among them."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "lvlora":
            yield from ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((a.name, "") for a in node.names if a.name.partition(".")[0] == "lvlora")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if "\nfrom lvlora" in node.value or "\nimport lvlora" in node.value:
                yield from _taken(node.value)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_program_takes_from_the_package_is_there(path):
    for module, name in _taken(path.read_text(encoding="utf-8")):
        imported = importlib.import_module(module)
        if name and not hasattr(imported, name):
            importlib.import_module(f"{module}.{name}")


def test_every_script_and_benchmark_is_told_of():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    pages = contributing + (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    for path in PROGRAMS:
        if path.parent.name in ("scripts", "benchmarks"):
            assert path.name in pages, path.name
