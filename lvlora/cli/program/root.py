"""The program itself: its name, its version, the list of its commands.

A command's module is imported when the command is called, so that help and completion stay fast.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from lvlora import __version__
from lvlora.errors import EXIT_USAGE, SettingsError, closest

COMMANDS = {
    "simulate": "Write a data set of predator-prey trajectories.",
    "analyze": "Describe a data set: quality, statistics, periods, phase lag, clusters.",
    "tokenize": "Show series as text and tokens of a model, and what the text loses.",
    "flops": "Say what a step costs, what a budget buys, and what was spent.",
    "baseline": "Score the untrained model and all rivals on one part of a data set.",
    "train": "Fine-tune a base model with LoRA on trajectories.",
    "sweep": "Search the best settings that a FLOP budget can buy, by many trainings.",
    "experiment": (
        "Make the stages of a file, one after the other: trainings, sweeps, evaluations."
    ),
    "forecast": "Forecast the future of a file's trajectories.",
    "evaluate": (
        "Score adapters beside their base model and every rival on one part of a data set."
    ),
    "export": "Merge an adapter into its base model, or rewrite it for peft.",
    "report": "Rebuild the report of a run or an evaluation from its folder, and open it if asked.",
    "doctor": "Check the installation: packages, processor, decoder, memory, disk, models.",
}
"""Name → one line of help, in the order of the work. `lvlora.cli.<name>` is the module, and the
line is the first of its command's docstring (a test holds that)."""


def wants_debug(flag: bool) -> bool:
    """Tracebacks are wanted: by --debug or by LVLORA_DEBUG (0 is no)."""
    return flag or os.environ.get("LVLORA_DEBUG", "") not in ("", "0")


@functools.cache
def load(name: str) -> TyperCommand:
    """The command itself, from its module."""
    importlib.import_module(f"lvlora.cli.{name}")
    single = typer.Typer(add_completion=False, rich_markup_mode="rich")
    single.registered_commands = [c for c in app.registered_commands if c.name == name]
    command = typer.main.get_command(single)
    assert isinstance(command, TyperCommand)
    return command


def load_all() -> None:
    """Import every command's module, so that all settings are known."""
    for name in COMMANDS:
        importlib.import_module(f"lvlora.cli.{name}")


def _unknown_command(name: str, commands: list[str]) -> SettingsError:
    """The error about a word that should be a command."""
    if name == "help":
        return SettingsError(
            "there is no command help.", "lvlora --help lists all; lvlora COMMAND --help says more."
        )
    match = closest(name, commands)
    meant = f"Did you mean {match}? " if match else ""
    return SettingsError(f"there is no command {name}.", f"{meant}lvlora --help lists all.")


class _Commands(TyperGroup):
    """Commands that are a name and a line until one is called."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.commands = {
            name: TyperCommand(name, help=line, rich_markup_mode="rich")
            for name, line in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in COMMANDS:
            self.commands[args[0]] = load(args[0])
        elif args and not args[0].startswith("-") and not ctx.resilient_parsing:
            raise _unknown_command(args[0], list(COMMANDS))
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="lvlora",
    cls=_Commands,
    help="LoRA fine-tuning of small language models that forecast trajectories written as text, "
    "on a FLOP budget that is counted exactly.",
    epilog="[bold]Start with[/bold]\n"
    "  [bold]lvlora train[/bold]                    train on data made on the spot\n"
    "  [bold]lvlora forecast FILE[/bold]            forecast a file's trajectories\n"
    "  [bold]lvlora COMMAND --help[/bold]           options and examples of a command",
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            show_default=False,
            help="Print the version; lvlora doctor says more.",
        ),
    ] = False,
) -> None:
    if version:
        typer.echo(f"lvlora {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        ctx.get_help()  # rich prints it
        raise typer.Exit(EXIT_USAGE)
