"""Typer parameters of a field: its spellings, its help, its completion."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from lvlora.cli.program.completion import IN_RUNS, Completer, FolderCompleter, runs_folder
from lvlora.settings.fields import Field

ON, OFF = "on_", "off_"
"""Beginnings of the names of a flag's two parameters."""


def parameters_of(field: Field, completer: Completer | None) -> list[inspect.Parameter]:
    """Return one parameter of a field, or two for a flag and its hidden opposite."""
    if field.kind == "flag":
        shown, hidden = (ON, OFF) if field.default is not True else (OFF, ON)
        return [
            _keyword(f"{shown}{field.name}", bool, False, _option(field, *field.declarations)),
            _keyword(
                f"{hidden}{field.name}", bool, False, typer.Option(field.opposite, hidden=True)
            ),
        ]
    complete: Any = completer or (_choices_of(field) if field.choices else None)
    if field.name in IN_RUNS:
        complete = _in_runs(IN_RUNS[field.name])
    if field.argument:
        info = typer.Argument(
            help=_help(field), show_default=False, metavar=field.metavar, autocompletion=complete
        )
    else:
        info = _option(field, *field.declarations, autocompletion=complete)
    kind: Any = Path if field.argument and field.kind == "path" else str
    return [_keyword(field.name, list[str] if field.repeat else kind, None, info)]


def _option(field: Field, *declarations: str, **kwargs: Any) -> Any:
    return typer.Option(
        *declarations,
        help=_help(field),
        show_default=False,
        metavar=field.metavar,
        rich_help_panel=field.help_panel,
        **kwargs,
    )


def _keyword(name: str, kind: Any, default: object, info: Any) -> inspect.Parameter:
    annotation: Any = kind if default is not None else kind | None
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[annotation, info],
    )


def _choices_of(field: Field) -> Completer:
    def complete(incomplete: str) -> list[str]:
        # of a list, the last word is completed
        parts = incomplete.rpartition(",") if field.kind == "list" else ("", "", incomplete)
        done, comma, last = parts
        taken = done.split(",")
        matching = [word for word in field.choices if word.startswith(last) and word not in taken]
        return [f"{done}{comma}{word}" for word in matching]

    return complete


def _in_runs(completer: FolderCompleter) -> Callable[[typer.Context, str], list[str]]:
    """With the folder that the command line names so far (--runs before what is completed)."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return list(completer(incomplete, runs_folder(ctx.params.get("runs"))))

    return complete


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
