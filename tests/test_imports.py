"""The plan of the rooms, held over syntax trees: who may import whom, and what nobody may do.

Each module is parsed once; a rule is one test, which lists every place that breaks it.
"""

import ast
import functools
import inspect
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from lvlora import errors

PACKAGE = Path(__file__).parents[1] / "lvlora"
EVERYWHERE = {
    *("settings", "answers", "errors", "guesses", "narrator", "numbers", "runs"),
    *("durable", "folders", "output_files", "lvlora"),
}
"""Any room may import these; `lvlora` is the package itself (its version)."""

_BELOW = {"data", "text", "flops", "model", "report", "forecast", "evaluation", "train"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "answers": set(),
    "narrator": set(),
    "numbers": set(),
    "durable": {"errors"},
    "folders": {"errors", "durable"},
    "output_files": {"errors", "durable", "folders"},
    "settings": {"errors", "durable"},
    "runs": {"errors"},
    "schemas": set(),
    "data": set(),
    "flops": {"report"},
    "report": {"data"},
    "text": {"data"},
    "model": {"data", "text", "flops", "report"},
    "forecast": _BELOW - {"forecast", "evaluation", "train"},
    "evaluation": _BELOW - {"evaluation", "train"},
    "train": _BELOW - {"train"},
    "sweep": _BELOW,
    "experiment": _BELOW | {"sweep"},
    "programs": _BELOW | {"sweep"},
    "cli": _BELOW | {"sweep", "experiment"},
}
"""Room → the rooms it may import besides the above and itself."""

HEAVY = {
    *("torch", "transformers", "scipy", "sklearn", "matplotlib", "optuna", "h5py", "pandas"),
    *("pyarrow", "gguf", "huggingface_hub", "tokenizers", "safetensors"),
}
HEAVY_ALLOWED = {"model", "train", "forecast", "evaluation", "sweep", "experiment"}


class Module:
    """One file of the package."""

    def __init__(self, path: Path) -> None:
        self.path = path
        inside = path.relative_to(PACKAGE)
        self.name = str(path.relative_to(PACKAGE.parent))
        first = inside.parts[0].removesuffix(".py")
        self.room = {"__init__": "lvlora", "__main__": "cli"}.get(first, first)
        self.text = path.read_text(encoding="utf-8")
        self.tree = ast.parse(self.text)
        self.nodes = list(ast.walk(self.tree))

    @cached_property
    def imports(self) -> set[str]:
        """What is imported anywhere in it, modules and the names taken from them."""
        return set(self._imports(self.nodes))

    @cached_property
    def imports_at_import_time(self) -> set[str]:
        """The same without functions' bodies and what only a type checker sees."""
        return set(self._imports(_outside_functions(self.tree)))

    @property
    def packages(self) -> set[str]:
        """The first part of each of `imports`."""
        return {name.split(".")[0] for name in self.imports}

    def calls(self) -> Iterator[ast.Call]:
        """Every call in it."""
        return (node for node in self.nodes if isinstance(node, ast.Call))

    def _imports(self, nodes: Iterable[ast.AST]) -> Iterator[str]:
        package = self.path.relative_to(PACKAGE.parent).parent.parts
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = list(package[: len(package) - node.level + 1]) if node.level else []
                module = ".".join([*start, *([node.module] if node.module else [])])
                yield module
                # `from lvlora import train` imports the room, too
                yield from (f"{module}.{alias.name}" for alias in node.names)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run when the module is imported."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _outside_functions(child)


@functools.cache
def modules() -> list[Module]:
    """Every file of the package, read when a test asks."""
    return [Module(path) for path in sorted(PACKAGE.rglob("*.py"))]


def _rooms_of(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(imported name, its room) of those that are ours."""
    for name in sorted(names):
        parts = name.split(".")
        if parts[0] == "lvlora" and len(parts) > 1 and parts[1] in ROOMS:
            yield name, parts[1]


def test_every_module_is_in_a_known_room():
    unknown = [m.name for m in modules() if m.room not in {*ROOMS, "lvlora"}]
    assert not unknown, "say in ROOMS what these may import"


def test_rooms_import_one_way_only():
    wrong = []
    for module in modules():
        if module.room == "lvlora":
            allowed = set(ROOMS) - {"cli"}
        else:
            everywhere = set() if module.room in ("errors", "durable") else EVERYWHERE
            allowed = ROOMS[module.room] | {module.room} | everywhere
        wrong += [f"{module.name}: {n}" for n, r in _rooms_of(module.imports) if r not in allowed]
    assert not wrong


def test_modules_import_each_other_in_no_circle():
    """When they are imported: what a function imports may lead back."""
    names = {_dotted(module): module for module in modules()}
    inner = {
        name: {n for n in module.imports_at_import_time if n in names and n != name}
        for name, module in names.items()
        if module.path.name != "__init__.py"  # a room's map imports what is in the room
    }
    while leaves := {n for n, imported in inner.items() if not imported & inner.keys()}:
        inner = {n: imported for n, imported in inner.items() if n not in leaves}
    assert not inner, f"in a circle, or above one: {sorted(inner)}"


def test_names_are_imported_from_their_home():
    """A module has what it defines; only a room's `__init__` and the package pass names on."""
    homes = {_dotted(module): module for module in modules() if module.path.name != "__init__.py"}
    elsewhere = [
        f"{module.name}: {node.module}.{alias.name}"
        for module in modules()
        for node in module.nodes
        if isinstance(node, ast.ImportFrom) and node.module in homes
        for alias in node.names
        if alias.name not in _defined(homes[node.module])
    ]
    assert not elsewhere


@functools.cache
def _defined(module: Module) -> set[str]:
    """Every name that a module gives a value, at any depth."""
    named = {
        node.name
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    return named | {
        node.id
        for node in module.nodes
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _dotted(module: Module) -> str:
    return ".".join(module.path.relative_to(PACKAGE.parent).with_suffix("").parts)


def test_only_the_command_line_knows_typer_and_rich():
    strangers = {"typer", "rich"}
    assert not [m.name for m in modules() if m.room != "cli" and m.packages & strangers]
    # typer brings its own click; another one may not be installed, or be of another version
    assert not [m.name for m in modules() if "click" in m.packages]


def test_heavy_packages_are_imported_where_they_are_used():
    wrong = [
        f"{module.name}: {name}"
        for module in modules()
        if module.room not in HEAVY_ALLOWED
        for name in sorted(module.imports_at_import_time)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong


def test_the_command_line_imports_heavy_rooms_late():
    # settings and records need nothing heavy; cli/terminal/progress.py is an observer
    light = re.compile(r"lvlora\.(\w+\.settings|train\.record)\b")
    wrong = [
        f"{module.name}: {name}"
        for module in modules()
        if module.room == "cli"
        for name, room in _rooms_of(module.imports_at_import_time)
        if room in HEAVY_ALLOWED and not light.match(name)
    ]
    assert not wrong


def test_modules_stay_readable():
    assert not [m.name for m in modules() if len(m.text.splitlines()) > 500]
    vague = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
    assert not [m.name for m in modules() if vague & set(Path(m.name).with_suffix("").parts)]
    # of a module what it is about, of a room its map
    assert not [m.name for m in modules() if not ast.get_docstring(m.tree)]


def test_no_file_can_run_code():
    unsafe_packages = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    unsafe_calls = {"torch.load", "torch.save", "eval", "exec", "yaml.load"}
    # joblib reads no file there: it hands work to processes
    wrong = {m.name for m in modules() if m.packages & unsafe_packages}
    assert wrong <= {"lvlora/forecast/workers.py"}
    assert not [m.name for m in modules() if m.imports & {"torch.load", "torch.save"}]
    for module in modules():
        for call in module.calls():
            where = f"{module.name}:{call.lineno}"
            assert ast.unparse(call.func) not in unsafe_calls, where
            for keyword in call.keywords:
                if keyword.arg in ("trust_remote_code", "allow_pickle"):
                    assert isinstance(keyword.value, ast.Constant), where
                    assert keyword.value.value is False, where


def test_nothing_is_left_unfinished():
    words = ("TODO", "FIXME", "XXX", "NotImplementedError")
    assert not [f"{m.name}: {word}" for m in modules() for word in words if word in m.text]


def test_every_error_says_what_to_do():
    """The second argument of an `LvloraError` is its hint."""
    ours = {
        name
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.LvloraError)
    }
    wrong = [
        f"{module.name}:{call.lineno}: {call.func.id} without a hint"
        for module in modules()
        for call in module.calls()
        if isinstance(call.func, ast.Name)
        and call.func.id in ours
        and not [*call.args[1:], *(k for k in call.keywords if k.arg == "hint")]
    ]
    assert not wrong
