"""Write docs/cli.md, the reference of every command, from the commands themselves.

Usage: python scripts/make_cli_docs.py [FILE]

A test compares the file with what this script would write.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from make_schemas import ANSWERS

from lvlora.cli.program import from_settings
from lvlora.cli.program.root import COMMANDS, load
from lvlora.settings.fields import Field, by_help

FILE = Path(__file__).parents[1] / "docs" / "cli.md"

HEAD = """\
# The commands of lvlora

Written by `python scripts/make_cli_docs.py` from the commands themselves: don't edit it.

Data goes to standard output; progress, notes and hints go to standard error. Every option can also
be given as an environment variable (`LVLORA_RANK=4`) or as a key of a TOML file (`rank = 4`, see
`--config`); an option wins over a variable, a variable over the file. `--print-config` prints such
a file; [examples](../examples/README.md) has some to start from. Unknown keys and wrong values are
refused, all of them at once.

`--json` prints exactly one object on standard output. Its keys, types and units are written down as
JSON Schema, which `python scripts/make_schemas.py FOLDER` writes from the models; within a
`schema_version` keys may be added, but none goes away or changes its meaning. With an error
standard output stays empty: the sentence and its hint are on standard error, and the exit code
says what kind of error it is.

Exit codes: 0 done, 1 failure, 2 wrong usage, 3 no result (over the budget, or numbers that are not
finite), 4 bad data or file, 75 stopped and resumable, 130 interrupted.

| command | what it does |
|---|---|
"""

GENERAL = "## Options of every command\n\n"


def text() -> str:
    """The whole page."""
    rows = [f"| [`lvlora {name}`](#lvlora-{name}) | {line} |\n" for name, line in COMMANDS.items()]
    return (
        "".join([HEAD, *rows, "\n", *map(_command, COMMANDS), GENERAL, *_general()]).rstrip() + "\n"
    )


def _command(name: str) -> str:
    command = load(name)
    fields = by_help(from_settings.COMMANDS[name])
    arguments = [field for field in fields if field.argument]
    options = [field for field in fields if not field.argument]
    usage = " ".join(["lvlora", name, "[OPTIONS]", *map(_shown_argument, arguments)])
    more = _plain(command.help or "").partition("\n\n")[2]
    parts = [f"## lvlora {name}\n\n{COMMANDS[name]}\n\n", f"{more}\n\n" if more else ""]
    parts += [f"Usage: `{usage}`\n\n", *_examples(command.epilog or "")]
    if arguments:
        parts += ["**Arguments**\n\n", *_table("argument", arguments), "\n"]
    for panel in dict.fromkeys(field.help_panel for field in options):
        chosen = [field for field in options if field.help_panel == panel]
        parts += [f"**{panel}**\n\n", *_table("option", chosen), "\n"]
    if any("--dry-run" in option.opts for option in command.params):
        parts.append("`--dry-run`: say what it would cost (FLOPs, memory, time) and stop.\n\n")
    answers = [answer for answer in ANSWERS if re.fullmatch(f"{name}(-.*)?", answer)]
    models = ", ".join(f"`{ANSWERS[answer].__name__}`" for answer in dict.fromkeys(answers))
    parts.append(f"`--json` prints {models}.\n\n")
    return "".join(parts)


def _shown_argument(field: Field) -> str:
    return field.metavar if field.required else f"[{field.metavar}]"


def _examples(epilog: str) -> Iterator[str]:
    examples = re.findall(r"\[bold\](lvlora .*?)\[/bold\]\n\s*(.*)", epilog)
    lines = [f"- `{_plain(command)}`: {_plain(meaning)}\n" for command, meaning in examples]
    yield "Examples:\n\n" + "".join(lines) + "\n"


def _table(what: str, fields: Sequence[Field]) -> Iterator[str]:
    yield f"| {what} | meaning |\n|---|---|\n"
    for field in fields:
        names = field.declarations or (field.metavar,)
        labels = ", ".join(f"`{name}`" for name in names)
        value = "" if field.kind == "flag" or field.argument else f" `{field.metavar}`"
        facts = ["required"] if field.required else []
        if field.choices:
            facts.append(" or ".join(f"`{choice}`" for choice in field.choices))
        if field.default_text():
            facts.append(f"default `{field.default_text()}`")
        if field.limits_text():
            facts.append(field.limits_text())
        meaning = _cell(field.description) + (f" ({'; '.join(facts)})" if facts else "")
        yield f"| {labels}{value} | {meaning} |\n"


def _general() -> Iterator[str]:
    yield "| option | meaning |\n|---|---|\n"
    command: Any = load("simulate")
    for option in command.params:
        if getattr(option, "rich_help_panel", None) == from_settings.GENERAL:
            names = ", ".join(f"`{name}`" for name in option.opts)
            value = f" `{option.metavar}`" if option.metavar else ""
            yield f"| {names}{value} | {_cell(_plain(option.help or ''))} |\n"
    yield "| `--help`, `-h` | Show the options and examples of a command. |\n\n"
    yield (
        "`lvlora --version` prints the version; "
        "`lvlora --install-completion` completes commands, options, models, runs and studies "
        "in bash, zsh and fish.\n"
    )


def _plain(marked: str) -> str:
    """rich's markup taken out, what it escaped put back."""
    return re.sub(r"(?<!\\)\[/?[a-z]+\]", "", marked).replace("\\[", "[").strip()


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).write_text(text(), encoding="utf-8")
