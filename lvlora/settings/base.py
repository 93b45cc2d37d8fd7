"""The base of every settings model: frozen pydantic models whose fields describe themselves.

The command line is generated from these fields (`cli/program/from_settings.py`), so an option
exists, is checked and is explained in exactly one place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

Affects = Literal["result", "data", "model", "placement", "limit", "project", "resources", "output"]
"""The effect of a setting; each field names it, and every identity derives from it.

- result: the numbers themselves.
- data: which series are read, and how; a hash of them identifies them.
- model: which weights are read; hashes of them identify them.
- placement: on which device, in which precision, compiled or not; where ``auto`` chooses, what was
  chosen counts.
- limit: how many FLOPs this command may spend; the steps of a training follow from it.
- project: the runs, studies, ledger and trackers among which it works.
- resources: how much time, memory and how many processes it takes, for the same numbers.
- output: which files it writes, and whether it may replace others.
"""

Panel = Literal["Data", "Model", "LoRA", "Training", "Forecast", "Simulation", "Budget", "Output"]
PANELS: tuple[str, ...] = get_args(Panel)
"""Order of the panels in every command's help and in a settings file."""

_MOST_DIGITS = 60

LARGEST = 2**63
"""Beyond every number that an option means; numpy, torch and TOML have no larger whole ones."""


class Settings(BaseModel):
    """Base of all settings: frozen, unknown keys refused.

    Attributes:
        supports_dry_run: the command can say what it would cost without doing it.
        common: names of the options that most people use, which the help shows first; where there
            are none, all options stand in their panels.
    """

    # defer_build: twelve models are declared at start-up and one is used
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        allow_inf_nan=False,
        defer_build=True,
    )

    supports_dry_run: ClassVar[bool] = False
    common: ClassVar[tuple[str, ...]] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: object, info: ValidationInfo) -> object:
        """``rank = true`` would be read as 1."""
        if (
            isinstance(value, bool)
            and cls.model_fields[str(info.field_name)].annotation is not bool
        ):
            raise ValueError(f"should not be {str(value).lower()}")
        return value

    @classmethod
    def affecting(cls, *kinds: Affects) -> frozenset[str]:
        """Names of the settings that affect one of these."""
        return frozenset(
            name
            for name, field in cls.model_fields.items()
            if isinstance(field.json_schema_extra, dict)
            and field.json_schema_extra["affects"] in kinds
        )

    def deciding(self, *kinds: Affects) -> dict[str, Any]:
        """The settings that affect one of these, as JSON: for identities and records."""
        return self.model_dump(mode="json", include=set(self.affecting(*kinds)))


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a phrase for each setting that is not as it was."""
    return [
        f"{name} (was {before.get(name)}, not {now.get(name)})"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]


def option(
    default: Any,
    description: str,
    panel: Panel,
    *,
    affects: Affects,
    argument: bool = False,
    flag: str | None = None,
    short: str | None = None,
    metavar: str | None = None,
    bare: str | None = None,
    repeat: bool = False,
    **constraints: Any,
) -> Any:
    """A pydantic field that also says how it looks on the command line.

    Args:
        affects: what changes with its value; see `Affects`.
        argument: it is a positional argument, not an option.
        flag: ``--on/--off`` where these are not ``--name-with-dashes`` and ``--no-…``.
        short: a one-letter spelling, ``-n``.
        metavar: what stands for the value in the help.
        bare: the value that is meant when the option stands without one (``--resume``).
        repeat: it may be given several times, for a field of type `Words`.
        constraints: pydantic's own (ge, gt, le, lt, min_length…). A number that is only bounded
            from below is below `LARGEST`, too.
    """
    if {"ge", "gt"} & constraints.keys() and not {"le", "lt"} & constraints.keys():
        constraints["lt"] = LARGEST
    extra: dict[str, Any] = {
        "panel": panel,
        "affects": affects,
        "argument": argument,
        "repeat": repeat,
    }
    rare = {"flag": flag, "short": short, "metavar": metavar, "bare": bare}
    extra |= {key: value for key, value in rare.items() if value is not None}
    return Field(default, description=description, json_schema_extra=extra, **constraints)


def _whole_number(value: object) -> object:
    """`1e17`, "1e17" and 10**17 are the same exact integer; 1.5 is not one."""
    if isinstance(value, (str, float)):
        try:
            number = Decimal(str(value).replace("_", ""))
        except InvalidOperation:
            raise ValueError(f"{value!r} is not a number") from None
        # an exponent such as 1e999999999 would be expanded digit by digit
        if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS:
            raise ValueError(f"{value!r} is not a possible count")
        if number != number.to_integral_value():
            raise ValueError(f"{value!r} is not a whole number")
        return int(number)
    if isinstance(value, int) and abs(value) >= 10**_MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS} digits is not a possible count")
    return value


def _comma_separated(value: object) -> object:
    """ "a,b" and ["a", "b"] are the same tuple."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Sequence):
        return tuple(value)
    return value


def _bytes(value: object) -> object:
    """2GiB, 500MB, "1.5 GiB" and 2147483648 are numbers of bytes."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) *(?:([kmgt])(i?))?b?", value.strip().lower())
    if match is None:
        raise ValueError(f"{value!r} is no size; write 2GiB, 500MB or a number of bytes")
    unit = 1024 if match[3] else 1000
    return int(Decimal(match[1]) * unit ** " kmgt".index(match[2] or " "))


Bytes = Annotated[int, BeforeValidator(_bytes), Field(gt=0, lt=2**63)]
"""A number of bytes; 2GiB (1024s) and 2GB (1000s) are accepted."""


def _one_or_several(value: object) -> object:
    """ "a,b" is one word, with its comma: a path may have one."""
    return (value,) if isinstance(value, str) else value


Flops = Annotated[int, BeforeValidator(_whole_number), Field(gt=0)]
"""An exact count; 1e17 is accepted and kept as an integer (it is beyond 2^53)."""


def _flops_or_none(value: object) -> object:
    """A count, or the word none; what is neither is refused here, in one sentence."""
    if isinstance(value, str) and value.strip().lower() == "none":
        return "none"
    number = _whole_number(value)
    if not isinstance(number, int) or number <= 0:
        raise ValueError(f"should be a whole number of FLOPs above 0, or none, got {value!r}")
    return number


FlopsOrNone = Annotated[int | Literal["none"], BeforeValidator(_flops_or_none)]
"""An exact count as `Flops`, or the word that lifts a limit."""


def _season(value: object) -> object:
    """A season as a user types it: a whole number of steps, ``none`` or ``auto``."""
    if isinstance(value, str) and value.strip().lower() in ("auto", "none"):
        return value.strip().lower()
    steps = int(str(value)) if str(value).isascii() and str(value).isdigit() else 0
    if not 2 <= steps <= 100_000:
        raise ValueError(f"should be a whole number of steps from 2, none or auto, got {value!r}")
    return steps


Season = Annotated[int | Literal["auto", "none"], BeforeValidator(_season)]
"""A period in steps; ``auto``: what the history shows; ``none``: there is no season."""

Names = Annotated[tuple[str, ...], BeforeValidator(_comma_separated)]
Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_one_or_several)]
Fractions = Annotated[
    tuple[Annotated[float, Field(gt=0, lt=1)], ...], BeforeValidator(_comma_separated)
]
Tracker = Literal["tensorboard", "wandb"]
NumberFormat = Literal["point", "digits"]
"""``1.50``, or ``150``: the number of units of the last decimal."""

Trackers = Annotated[tuple[Tracker, ...], BeforeValidator(_comma_separated)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Split = Literal["train", "validation", "test", "all"]
Convention = Literal["executed", "coursework"]
