"""The program as a function, and the one place where errors become sentences."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Sequence

import typer

from lvlora import errors
from lvlora.cli.program.root import app, wants_debug
from lvlora.errors import (
    EXIT_DONE,
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    LvloraError,
    RunStopped,
    SettingsError,
    closest,
    is_out_of_memory,
)


def main(args: Sequence[str] | None = None, program: typer.Typer = app) -> int:
    """Run the program and return its exit code.

    Args:
        args: the command line without the program's name; default: this process's.
        program: what to run; another one than lvlora's own shares only the errors' mapping.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller (<&-, >&-)
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    debug = wants_debug("--debug" in arguments)
    errors.commands_running += 1
    try:
        code = _run(program, arguments, debug)
        sys.stdout.flush()
    except BrokenPipeError:
        from lvlora.cli.terminal.output import silence

        silence(sys.stdout)
        code = EXIT_FAILURE
    finally:
        errors.commands_running -= 1
    return code


def _run(program: typer.Typer, arguments: list[str], debug: bool) -> int:
    try:
        _check_working_folder()
        # not "standalone": typer would draw its refusals as boxes
        code = program(args=arguments, prog_name="lvlora", standalone_mode=False)
    except SystemExit as stop:
        code = EXIT_DONE if stop.code is None else stop.code
        return code if isinstance(code, int) else EXIT_FAILURE
    except BrokenPipeError:
        raise
    except BaseException as error:
        refused = _refusal(error)
        if debug and refused is None:
            traceback.print_exc()
        return _tell(refused or error, arguments)
    # typer makes this of a KeyboardInterrupt, without a word
    if code == EXIT_INTERRUPTED:
        return _tell(KeyboardInterrupt(), arguments)
    return code if isinstance(code, int) else EXIT_DONE


def _check_working_folder() -> None:
    """Refuse to start where relative paths lead nowhere; libraries fall over it unpredictably."""
    try:
        os.getcwd()
    except OSError as error:
        raise SettingsError(
            f"the working folder cannot be used: {error.strerror}.",
            "It was deleted or moved: change to another folder (cd) and run the command there.",
        ) from None


def _tell(error: BaseException, arguments: list[str]) -> int:
    """Say on stderr what went wrong; returns the exit code."""
    from lvlora.cli.terminal.output import Output

    output = Output()
    if isinstance(error, RunStopped):
        output.warning(error.message)
        if error.hint:
            output.hint(error.hint)
        return error.exit_code
    if isinstance(error, LvloraError):
        output.error(error.message, error.hint)
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        command = next((f" {a}" for a in arguments if not a.startswith("-")), "")
        output.warning(f"lvlora{command} was interrupted before it was done.")
        return EXIT_INTERRUPTED
    if is_out_of_memory(error):
        output.error(
            "there is not enough memory for this.",
            "A smaller --batch-size, --seq-len, --samples or --model needs less.",
        )
    elif isinstance(error, OSError) and error.errno in (
        errno.ENOSPC,
        getattr(errno, "EDQUOT", None),
    ):
        where = f" to write {error.filename}" if error.filename else ""
        output.error(
            f"there is no space left on the disk{where}.",
            "Free some, or write elsewhere (--out, --output, --runs).",
        )
    elif isinstance(error, OSError) and error.filename is not None:
        output.error(f"{error.filename}: {error.strerror}.", "Run again with --debug to see where.")
    else:
        first_line = str(error).strip().partition("\n")[0] or "(no message)"
        output.error(
            f"an unforeseen {type(error).__name__}: {first_line}",
            "This is a fault of lvlora; run again with --debug to see where.",
        )
    return EXIT_FAILURE


def _refusal(error: BaseException) -> SettingsError | None:
    """The error to be told instead of typer's; None if it is not one of typer's refusals.

    Typer brings its own click, whose classes have no public name: its errors are told by what they
    have.
    """
    if not (hasattr(error, "format_message") and hasattr(error, "exit_code")):
        return None
    context = getattr(error, "ctx", None)
    command = "lvlora" if context is None else str(context.command_path)
    hint = f"{command} --help explains every option."
    meant = ""
    if hasattr(error, "possibilities") and context is not None:
        known = {
            spelling.removeprefix("--").replace("-", "_"): spelling
            for parameter in context.command.params
            for spelling in parameter.opts
        }
        name = error.option_name.removeprefix("--").replace("-", "_")  # type: ignore[attr-defined]
        near = closest(name, known) or next((k for k in known if k.startswith(name)), None)
        meant = "" if near is None else f"Did you mean {known[near]}? "
    # without what typer would have us mean
    words = error.message if meant else error.format_message()  # type: ignore[attr-defined]
    return SettingsError(f"{command}: {words}", f"{meant}{hint}")


if __name__ == "__main__":
    sys.exit(main())
