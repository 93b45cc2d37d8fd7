"""The house's plan, held over syntax trees: who may import whom, and what nobody may do."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvlora import errors

PACKAGE = Path(__file__).parents[1] / "lvlora"
MODULES = sorted(PACKAGE.rglob("*.py"))
EVERYWHERE = {
    *("settings", "answers", "errors", "guesses", "narrator", "numbers"),
    *("durable", "folders", "output_files", "lvlora"),
}
"""Any room may import these; `lvlora` is the package itself (its version)."""

_BELOW = {"series", "text", "flops", "model", "report", "forecast", "evaluation", "train"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "answers": set(),
    "narrator": set(),
    "numbers": set(),
    "durable": {"errors"},
    "folders": {"errors", "durable"},
    "output_files": {"errors", "durable", "folders"},
    "guesses": {"errors"},
    "settings": {"errors", "guesses"},
    "schemas": set(),
    "series": set(),
    "flops": set(),
    "report": {"series"},
    "text": {"series"},
    "model": {"series", "text", "flops"},
    "forecast": _BELOW - {"forecast", "evaluation", "train"},
    "evaluation": _BELOW - {"evaluation", "train"},
    "train": _BELOW - {"train"},
    "sweep": _BELOW,
    "api": _BELOW | {"sweep"},
    "cli": _BELOW | {"sweep"},
}
"""Room → the rooms it may import besides the above and itself."""

HEAVY = {
    "torch",
    "transformers",
    "scipy",
    "sklearn",
    "matplotlib",
    "optuna",
    "h5py",
    "pyarrow",
    "gguf",
    "huggingface_hub",
    "tokenizers",
    "safetensors",
}
HEAVY_ALLOWED = {"model", "train", "forecast", "evaluation", "sweep"}


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


def _room(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    first = inside.parts[0].removesuffix(".py")
    return {"__init__": "lvlora", "__main__": "cli"}.get(first, first)


def _imports(tree: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield module
            # `from lvlora import train` imports the room, too
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _package(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE.parent).parent.parts


def _at_import_time(tree: ast.Module) -> ast.Module:
    """The tree without the bodies of functions and without what only a type checker sees."""

    class Outside(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            checks = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
            return None if checks else self.generic_visit(node)

    outside = Outside().visit(ast.parse(ast.unparse(tree)))
    assert isinstance(outside, ast.Module)
    return outside


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_rooms_import_one_way_only(path):
    room = _room(path)
    if room == "lvlora":
        allowed: set[str] = set(ROOMS) - {"cli"}
    else:
        assert room in ROOMS, f"{_name(path)} is in no known room; say in ROOMS what it may import"
        allowed = (
            ROOMS[room] | {room} | (EVERYWHERE if room not in ("errors", "durable") else set())
        )
    for name in _imports(ast.parse(path.read_text()), _package(path)):
        parts = name.split(".")
        if parts[0] == "lvlora" and len(parts) > 1 and parts[1] in ROOMS:
            assert parts[1] in allowed, f"{room} may not import {parts[1]} ({name})"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_only_the_command_line_knows_typer_and_rich(path):
    tops = {name.split(".")[0] for name in _imports(ast.parse(path.read_text()), _package(path))}
    if _room(path) != "cli":
        assert tops.isdisjoint({"typer", "rich"})
    # typer brings its own click; another one may not be installed, or be of another version
    assert "click" not in tops


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_heavy_packages_are_imported_where_they_are_used(path):
    if _room(path) in HEAVY_ALLOWED:
        return
    tree = _at_import_time(ast.parse(path.read_text()))
    tops = {name.split(".")[0] for name in _imports(tree, _package(path))}
    assert tops.isdisjoint(HEAVY)


@pytest.mark.parametrize("path", [p for p in MODULES if _room(p) == "cli"], ids=_name)
def test_the_command_line_imports_heavy_rooms_late(path):
    names = set(_imports(_at_import_time(ast.parse(path.read_text())), _package(path)))
    light = {"lvlora.train.observer"}  # the protocol that cli/terminal/progress.py implements
    for name in names:
        parts = name.split(".")
        heavy = parts[0] == "lvlora" and len(parts) > 1 and parts[1] in HEAVY_ALLOWED
        assert not heavy or any(name.startswith(module) for module in light), name


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_stay_readable(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 500
    assert path.stem not in ("utils", "util", "helpers", "helper", "common", "core", "misc")
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module says what it knows"


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_file_can_run_code(path):
    tree = ast.parse(path.read_text())
    tops = {name.split(".")[0] for name in _imports(tree, _package(path))}
    assert tops.isdisjoint(
        {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("torch.load", "torch.save", "eval", "exec", "yaml.load"), called
            for keyword in node.keywords:
                if keyword.arg == "trust_remote_code":
                    assert isinstance(keyword.value, ast.Constant)
                    assert keyword.value.value is False
                if keyword.arg == "allow_pickle":
                    assert isinstance(keyword.value, ast.Constant)
                    assert keyword.value.value is False
        if isinstance(node, ast.ImportFrom) and node.module == "torch":
            assert not {alias.name for alias in node.names} & {"load", "save"}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_nothing_is_left_unfinished(path):
    text = path.read_text()
    for word in ("TODO", "FIXME", "XXX", "NotImplementedError"):
        assert word not in text


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_every_error_says_what_to_do(path):
    """The second argument of an `LvloraError` is its hint."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            error = getattr(errors, node.func.id, None)
            if isinstance(error, type) and issubclass(error, errors.LvloraError):
                hints = [*node.args[1:], *(k for k in node.keywords if k.arg == "hint")]
                assert hints, f"{_name(path)}:{node.lineno}: {node.func.id} without a hint"
