"""The answer of doctor."""

from __future__ import annotations

from typing import Literal

from lvlora.answers import Answer, Shape


class Check(Shape):
    """One thing that was looked at."""

    name: str
    status: Literal["ok", "note", "problem"]
    """note: it works, but something could be better; problem: something won't work."""
    found: str
    advice: str
    """The remedy; empty where nothing is wrong."""


class Doctor(Answer):
    """`lvlora doctor --json`"""

    lvlora: str
    """The version."""
    healthy: bool
    """There is no problem; the exit code is 1 if there is."""
    checks: list[Check]
