"""The errors of lvlora: what went wrong, what to do, and the exit code.

Every foreseeable failure is raised as one of these; the command line prints the message, the
hint, and exits with the code. A traceback reaches a user only by ``--debug``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

EXIT_DONE = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_NO_RESULT = 3
"""The files are in order, and yet there is no result to be had."""
EXIT_DATA = 4
EXIT_STOPPED = 75
EXIT_INTERRUPTED = 130


commands_running = 0
"""How many commands run in this process; where none does, a program reads the messages."""

_OPTION = re.compile(
    r"\blvlora [a-z]+(?: [^\s,;()]*[^\s,;:.()])*"  # a command stays one, whoever reads it
    r"|--no-(?P<off>[a-z][a-z-]*)|--(?P<name>[a-z][a-z-]*)"
    r"(?: (?P<number>-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?!\w))?"
)


def in_python(text: str) -> str:
    """Replace options by keyword arguments: ``--max-steps 5`` becomes ``max_steps=5``."""

    def keyword(match: re.Match[str]) -> str:
        if match["off"]:
            return f"{match['off'].replace('-', '_')}=False"
        if not match["name"]:
            return match[0]
        name = match["name"].replace("-", "_")
        return f"{name}={match['number'].replace(',', '_')}" if match["number"] else name

    return _OPTION.sub(keyword, text)


class LvloraError(Exception):
    """A failure with one line that says what is wrong and one that says what to do.

    Both name settings as options where a command runs, else as keyword arguments.
    """

    exit_code = EXIT_FAILURE

    def __init__(self, message: str, hint: str = "") -> None:
        if not commands_running:
            message, hint = in_python(message), in_python(hint)
        super().__init__(message)
        self.message = message
        self.hint = hint


class SettingsError(LvloraError):
    """An option, a configuration key or a combination of them is wrong."""

    exit_code = EXIT_USAGE


class BudgetError(LvloraError):
    """The work would cost more FLOPs than are left."""

    exit_code = EXIT_NO_RESULT


class DataError(LvloraError):
    """A file that was given cannot be used: missing, malformed, or not what it should be."""

    exit_code = EXIT_DATA


class ModelError(DataError):
    """A base model, tokenizer or adapter cannot be found or used."""


class RunStopped(LvloraError):
    """The work was stopped by a signal, its state is saved, and it can go on."""

    exit_code = EXIT_STOPPED


class NumericalError(LvloraError):
    """A loss, a gradient or a logit is not finite; nothing was written."""

    exit_code = EXIT_NO_RESULT


def is_out_of_memory(error: BaseException) -> bool:
    """Memory was short: Python's own error, or that of PyTorch's allocators."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)  # torch.OutOfMemoryError is one
        and ("out of memory" in text or "can't allocate memory" in text)
    )


_SYNONYMS = {
    "rank": "r lora_r lora_rank",
    "alpha": "lora_alpha",
    "dropout": "lora_dropout",
    "targets": "target_modules",
    "learning_rate": "lr",
    "max_steps": "steps max_iters iters",
    "samples": "num_samples",
    "horizon": "prediction_length",
    "model": "base_model",
    "out": "output_dir",
    "study": "out study_name",
    "accumulation": "gradient_accumulation_steps",
    "batch_size": "per_device_train_batch_size",
    "seq_len": "max_seq_length",
    "data": "file",
    "train": "fit finetune fine-tune",
    "sweep": "tune search",
    "forecast": "predict generate",
    "evaluate": "eval score",
    "export": "merge fuse",
    "flops": "cost",
    "doctor": "check",
    "analyze": "describe",
}
"""Options and commands of ours, and what other programs of this field call the same thing."""


def closest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the candidate that a mistyped word probably meant; None if none is near."""
    import difflib

    candidates = list(candidates)
    for ours, theirs in _SYNONYMS.items():
        if ours in candidates and word in theirs.split():
            return ours
    lowered = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=cutoff)
    return lowered[near[0]] if near else None


def meant(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str:
    """ "Did you mean train? ", to begin a hint with; empty where nothing is near."""
    near = closest(word, candidates, cutoff)
    return f"Did you mean {near}? " if near else ""


def did_you_mean(word: str, candidates: Iterable[str], spell: Callable[[str], str] = str) -> str:
    """Return "; did you mean …?", to end a message with, or nothing."""
    match = closest(word, candidates)
    return f"; did you mean {spell(match)}?" if match else ""


def reason(error: BaseException) -> str:
    """The first line of what a library said, short and printable."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return "".join(c if c.isprintable() else "?" for c in first)
