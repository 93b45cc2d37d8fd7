"""The program itself: its name, its version, and nothing that it does.

Knows: what `lvlora` without a command says. Does not know: the commands; they add themselves.
"""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from lvlora import __version__

app = typer.Typer(
    name="lvlora",
    help="LoRA fine-tuning of small language models that forecast trajectories written as text, "
    "on a FLOP budget that is counted exactly.",
    epilog="[bold]Start with[/bold]\n"
    "  [bold]lvlora train[/bold]                    train on data made on the spot\n"
    "  [bold]lvlora forecast FILE[/bold]            forecast a file's trajectories\n"
    "  [bold]lvlora COMMAND --help[/bold]           options and examples of a command",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            show_default=False,
            help="Print the version, with -v also torch's.",
        ),
    ] = False,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose",
            "-v",
            count=True,
            metavar="",
            show_default=False,
            help="With --version: say more.",
        ),
    ] = 0,
) -> None:
    if version:
        typer.echo(f"lvlora {__version__}")
        if verbose:
            for line in _versions():
                typer.echo(line)
        raise typer.Exit


def _versions() -> list[str]:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return [
        f"python {platform.python_version()}",
        f"torch {torch.__version__}",
        f"device {device}, {torch.get_num_threads()} threads",
    ]
