"""Makes a command from a settings model: an option exists and is explained in one place.

Every option reaches typer as text, and pydantic alone checks it: so all that is wrong is said at
once, in the same words for the command line, the environment and the file.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.markup import escape
from typer.core import TyperCommand

from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.root import load_all, wants_debug
from lvlora.settings.base import Settings
from lvlora.settings.configuration import misspelt_variables, resolve, to_toml
from lvlora.settings.fields import Field, by_help, read_fields

S = TypeVar("S", bound=Settings)

COMMANDS: dict[str, type[Settings]] = {}
"""The settings of each command that was loaded, by name."""

GENERAL = "General"
_MOST_RUNS = 50
_OTHER_VARIABLES = ("config", "debug", "native")


def examples(*lines: tuple[str, str]) -> str:
    """An epilog: (command line, what it does) pairs."""
    shown = "\n".join(
        f"  [bold]{escape(command)}[/bold]\n      {escape(meaning)}" for command, meaning in lines
    )
    return f"[bold]Examples[/bold]\n{shown}"


def settings_command(
    app: typer.Typer,
    model: type[S],
    *,
    name: str,
    epilog: str,
) -> Callable[[Callable[[S, CommandContext], None]], Callable[..., None]]:
    """Register a function as a command whose options are a model's fields.

    Args:
        name: the command's name, and its table's in a configuration file.
        epilog: examples, made by `examples`.
    """
    fields = read_fields(model)
    general = (*([_DRY_RUN] if model.supports_dry_run else []), *_GENERAL)
    COMMANDS[name] = model

    def decorate(function: Callable[[S, CommandContext], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            common = {p.name.removeprefix("common_"): values.pop(p.name) for p in general}
            for field in fields:
                if field.repeat:  # "" takes a value of the file back, as for other options
                    value = values[field.name]
                    values[field.name] = "" if value == [""] else value or None
            _call(function, name, model, values, common)

        parameters = [*map(parameter_of, by_help(model)), *general]
        command.__name__ = name
        command.__doc__ = _unwrapped(function.__doc__ or "")
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(
            name,
            cls=_command_class(fields),
            epilog=f"{epilog}\n\n[dim]Options can also be given as environment variables "
            f"({_variable_example(fields)}) and in a --config file.[/dim]",
        )(command)
        return command

    return decorate


def _call(
    function: Callable[[S, CommandContext], None],
    name: str,
    model: type[S],
    flags: Mapping[str, Any],
    common: Mapping[str, Any],
) -> None:
    """Find the settings of a call, and make it or print them."""
    from lvlora.cli.terminal.output import Output  # completion prints no tables

    output = Output(bool(common["json"]), -1 if common["quiet"] else int(common["verbose"]))
    config = common["config"] or os.environ.get("LVLORA_CONFIG") or None
    has_variables = any(variable.startswith("LVLORA_") for variable in os.environ)
    if config is not None or has_variables:
        load_all()  # one file, or one set of variables, may serve several commands
    resolved = resolve(
        name,
        model,
        flags=flags,
        environment=os.environ,
        config=config,
        commands=COMMANDS,
        allow_missing=bool(common["print_config"]),
    )
    if has_variables:
        known = {field for other in COMMANDS.values() for field in other.model_fields}
        for sentence in misspelt_variables(os.environ, [*known, *_OTHER_VARIABLES]):
            output.warning(sentence)
    if common["print_config"]:
        output.write(to_toml(name, resolved.settings, resolved.missing))
        return
    context = CommandContext(
        output=output,
        dry_run=bool(common.get("dry_run")),
        debug=wants_debug(bool(common["debug"])),
        sources=resolved.sources,
        config=None if config is None else Path(config),
    )
    with output.displays:
        function(resolved.settings, context)


def _general(
    name: str, kind: Any, *spellings: str, text: str, metavar: str = ""
) -> inspect.Parameter:
    info = typer.Option(
        *spellings,
        help=text,
        rich_help_panel=GENERAL,
        show_default=False,
        metavar=metavar,
        count=kind is int,
    )
    return inspect.Parameter(
        f"common_{name}",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[kind, info],
        default=kind() if kind in (bool, int) else None,
    )


_DRY_RUN = _general(
    "dry_run", bool, "--dry-run", text="Say what it would cost (FLOPs, memory, time) and stop."
)
_GENERAL = (
    _general("json", bool, "--json", text="Print one JSON object instead of tables."),
    _general(
        "config",
        str | None,
        *("--config", "-c"),
        text="TOML file with settings; options and environment variables override it.",
        metavar="FILE",
    ),
    _general(
        "print_config",
        bool,
        "--print-config",
        text="Print the settings as TOML for --config, and stop.",
    ),
    _general("quiet", bool, "--quiet", "-q", text="No notes, hints and progress."),
    _general("verbose", int, "--verbose", "-v", text="Say more."),
    _general("debug", bool, "--debug", text="Show the traceback of an error."),
)
"""Options of every command."""


def _unwrapped(docstring: str) -> str:
    """The text with one line a paragraph: the terminal's width decides where lines break."""
    expanded = inspect.cleandoc(docstring).split("\n\n")
    return escape("\n\n".join(" ".join(paragraph.split()) for paragraph in expanded))


def _variable_example(fields: Sequence[Field]) -> str:
    with_default = [field for field in fields if field.default_text() and not field.argument]
    liked = (field for field in with_default if field.kind == "whole" and field.panel != "Data")
    shown = next(liked, with_default[0])
    return f"{shown.variable}={shown.default_text()}"


def _command_class(fields: Sequence[Field]) -> type[TyperCommand]:
    """A typer command that knows bare options and required arguments.

    Typer itself must not require an argument: the environment or a file may give it.
    """
    bare = {
        declaration: field.bare
        for field in fields
        if field.bare is not None
        for declaration in field.declarations
    }
    required = {f"[{field.metavar}]": field.metavar for field in fields if field.required}

    class SettingsCommand(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, _with_bare_values(args, bare))

        def collect_usage_pieces(self, ctx: Any) -> list[str]:
            return [required.get(piece, piece) for piece in super().collect_usage_pieces(ctx)]

        def get_help_option(self, ctx: Any) -> Any:
            option = super().get_help_option(ctx)
            if option is not None:
                option.rich_help_panel, option.metavar = GENERAL, ""
            return option

    return SettingsCommand


def _with_bare_values(args: Sequence[str], bare: Mapping[str, str | None]) -> list[str]:
    """``--resume --rank 4`` → ``--resume=latest --rank 4``."""
    expanded: list[str] = []
    for index, arg in enumerate(args):
        if arg == "--":
            return expanded + list(args[index:])
        follows = args[index + 1] if index + 1 < len(args) else "-"
        expanded.append(f"{arg}={bare[arg]}" if arg in bare and follows.startswith("-") else arg)
    return expanded


def parameter_of(field: Field) -> inspect.Parameter:
    """Return the parameter of a field; its value is text, or for a flag true or false."""
    kind: Any = str
    if field.kind == "flag":
        kind = bool
    elif field.argument and field.kind == "path":
        kind = Path
    elif field.repeat:
        kind = list[str]
    facts: Any = {
        "help": _help(field),
        "show_default": False,
        "metavar": field.metavar,
        "autocompletion": _completer_of(field),
    }
    if field.argument:
        info = typer.Argument(**facts)
    else:
        names = field.declarations
        if field.kind == "flag":
            names = ("/".join(names),)
        info = typer.Option(*names, rich_help_panel=field.help_panel, **facts)
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, info],
    )


def _help(field: Field) -> str:
    facts = ["required"] if field.required else []
    if field.choices:
        facts.append(", ".join(field.choices))
    if field.default_text():
        facts.append(f"default: {field.default_text()}")
    if field.limits_text():
        facts.append(field.limits_text())
    text = escape(field.description)
    return f"{text} [dim]{escape('[' + '; '.join(facts) + ']')}[/dim]" if facts else text


def _completer_of(field: Field) -> Callable[[typer.Context, str], list[str]] | None:
    """Return a function that completes what was typed of a field's value; None where none can.

    Completion must stay fast: no heavy import, no network.
    """
    if field.name not in _WORDS and not field.choices:
        return None

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        # of a list, the last word is completed
        is_list = field.kind == "list"
        done, comma, last = incomplete.rpartition(",") if is_list else ("", "", incomplete)
        taken = done.split(",")
        words = _WORDS[field.name](ctx) if field.name in _WORDS else field.choices
        return [f"{done}{comma}{w}" for w in words if w.startswith(last) and w not in taken]

    return complete


def _models(ctx: typer.Context) -> Iterable[str]:
    from lvlora.model.catalogue import SHORT_NAMES

    return ("auto", "bundled", *SHORT_NAMES)


def _forecasters(ctx: typer.Context) -> Iterable[str]:
    from lvlora.forecast.rivals import default_rivals, option_name

    return ("lm", "auto", *(option_name(rival.name) for rival in default_rivals()))


def _linear_layers(ctx: typer.Context) -> Iterable[str]:
    from lvlora.flops.shape import LINEARS

    return (*LINEARS, "all-linear")


def _runs(ctx: typer.Context) -> Iterable[str]:
    """Folders of runs, studies and evaluations, the newest first, for names begin with the time."""
    runs = ctx.params.get("runs") or os.environ.get("LVLORA_RUNS") or "runs"
    folder = Path(os.path.expanduser(str(runs)))
    try:
        names = sorted((entry.name for entry in os.scandir(folder) if entry.is_dir()), reverse=True)
    except OSError:
        return ()
    return ("latest", *names[:_MOST_RUNS])


_WORDS: dict[str, Callable[[typer.Context], Iterable[str]]] = {
    "model": _models,
    "forecaster": _forecasters,
    "targets": _linear_layers,
    **dict.fromkeys(("adapter", "resume", "run", "study", "close"), _runs),
}
"""Field name → the words that it may be, in every command that has the field."""
