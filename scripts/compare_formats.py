"""How numbers are written: does another format pay at the same FLOPs?

    python scripts/compare_formats.py DATA --work FOLDER --model MODEL   # goes on where it stopped

- point: `1.50`, as lvlora writes it
- digits: `150`, fewer tokens and more steps for the same FLOPs (`--number-format digits`)
- padded: `0150`, always four digits, so that a place in a window is always the same digit's
- reversed: `051`, the least significant digit first, the order in which one adds

Every format is a training of --flops (executed) of the same base model by `lvlora train`, scored by
`lvlora evaluate` in original units; for the last two in processes whose codec is exchanged. A model
that was made with one format, as the bundled one, says nothing about the others.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from comparison import common, options

from lvlora.__main__ import main as run_lvlora
from lvlora.text import scaling
from lvlora.text.alphabet import INDEX
from lvlora.text.codec import Codec
from lvlora.text.grammar import Grammar
from lvlora.train import plan

RECIPE = "--targets all-linear --rank 32 --batch-size 1 --seq-len 1000 --scale-jitter 0.15".split()
DIGITS = [INDEX[digit] for digit in "0123456789"]
FORMATS: dict[str, Callable[[str], str] | None] = {
    "point": None,
    "digits": None,
    "padded": lambda digits: digits.zfill(4),
    "reversed": lambda digits: digits[::-1],
}
"""How the digits of a number of hundredths are written; None: lvlora has the format itself."""


def exchange(write: Callable[[str], str], read: Callable[[str], str]) -> None:
    """Make this process write numbers as hundredths, by ``write``, and read them by ``read``."""
    of_dataset = scaling.of_dataset
    table = Grammar.__dict__["_table"].func

    def format_units(self: Codec, units: int) -> str:
        return ("-" if units < 0 else "") + write(str(abs(units)))

    def read_step(self: Codec, step: str, index: int) -> list[float]:
        found = [field.strip() for field in step.split(",")]
        return [
            np.nan if f == "?" else float(read(f.lstrip("-"))) * (-1) ** f.startswith("-")
            for f in found
        ]

    def with_leading_zeros(self: Grammar) -> Any:
        transitions, guess = table(self)
        places = len(transitions) // self.codec.n_variables
        for variable in range(self.codec.n_variables):
            zero = variable * places + 2
            transitions[zero, DIGITS] = transitions[zero + 1, DIGITS]
        return transitions, guess

    def scale(part: Any) -> scaling.Scale:
        return of_dataset(part).times(0.01)

    exchanged: Any = Codec
    exchanged.format_units, exchanged._step = format_units, read_step
    property_ = functools.cached_property(with_leading_zeros)
    property_.__set_name__(Grammar, "_table")
    Grammar._table = property_  # type: ignore[assignment]
    for module in (scaling, plan):  # the second has it by name
        vars(module)["of_dataset"] = scale
    low, high = scaling._FITTING  # numbers that are hundreds now are as they should be
    vars(scaling)["_FITTING"] = (100 * low, 100 * high)


def lvlora(form: str, *arguments: object) -> Any:
    """The answer of a command in a process that writes numbers in this format."""
    command = [sys.executable, __file__, "--as", form, *map(str, arguments), "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", choices=FORMATS, default=list(FORMATS))
    args = parser.parse_args()
    rows = {}
    for form in args.only:
        folder, own = args.work / form, FORMATS[form] is None
        written = ["--decimals", 2, "--number-format", form] if own else ["--decimals", 0]
        if not (folder / "result.json").is_file():
            lvlora(
                form,
                "train",
                args.data,
                *common(args),
                *RECIPE,
                *written,
                "--max-flops",
                args.flops,
                "--no-validation",
                "--out",
                folder,
                "--overwrite",
            )
        (rows[form],) = lvlora(
            form,
            "evaluate",
            args.data,
            *common(args),
            "--adapter",
            folder,
            "--no-zero-shot",
            "--no-rivals",
            "--greedy",
            "--limit",
            args.series,
            "--out",
            args.work / f"{form}-scores",
        )["forecasters"]
        print(f"{form:10} MAE {rows[form]['mae']:.4f}  NLL/D {rows[form]['nll']}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as"]:
        written = FORMATS[sys.argv[2]]
        if written is not None:
            exchange(written, (lambda t: t[::-1]) if sys.argv[2] == "reversed" else str)
        sys.argv = ["lvlora", *sys.argv[3:]]
        sys.exit(run_lvlora())
    main()
