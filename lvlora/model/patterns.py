"""Regular expressions from an adapter's file, which must not keep a search busy for long.

peft evaluates them with `re`, whose search can take longer than anybody lives. Here the `regex`
package does the same and stops when its time is over; what the two understand differently is
refused.
"""

from __future__ import annotations

import math
import re
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

from lvlora.errors import ModelError, reason

MOST = 1000
"""Patterns of one adapter; peft writes one a module at most (560 for 80 layers of seven)."""
LONGEST, LONGEST_TOGETHER = 2000, 100_000
"""Characters of one, and of all."""
SECONDS = 1.0
"""Seconds of computing for all patterns and all names together."""

_LITERAL = re.compile(r"(?:[\w.-]|\\[.\w-])*")
_BRACES = re.compile(r"(?<!\\)(?:\\\\)*\{(?!\d+(,\d*)?\}|,\d+\})")
"""A brace that opens no count of repeats: `regex` reads more in braces than `re` does."""
_COUNT = re.compile(r"\{(\d+)(?:,\d*)?\}")
_MOST_REPEATS = 1000
"""The most repeats of required parts, nested ones multiplied; `regex` writes each of them down."""


_ANY_PARENT = r"(.*\.)?"


def check(pattern: str, *, suffix: bool = False) -> str:
    """The pattern itself.

    Args:
        suffix: it is for `Matcher.suffix`.

    Raises:
        ValueError: it is too long, no regular expression, or one that is understood in two ways.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"a pattern has {len(pattern):,} characters, at most {LONGEST:,} are read")
    if _LITERAL.fullmatch(pattern):
        return pattern
    shown = repr(pattern[:80])
    if _BRACES.search(pattern):
        raise ValueError(f"the pattern {shown} has braces that are no count of repeats")
    # at least as many as are within each other, and a name has not nearly as many parts
    if math.prod(max(1, int(count)) for count in _COUNT.findall(pattern)) > _MOST_REPEATS:
        raise ValueError(f"the pattern {shown} asks for more than {_MOST_REPEATS:,} repeats")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what re will understand otherwise one day
            re.compile(f"{_ANY_PARENT}({pattern})" if suffix else pattern)
            _compiled(pattern)
    except Exception as error:  # regex has an error of its own beside re's
        raise ValueError(f"the pattern {shown} is not valid: {reason(error)}") from None
    return pattern


@dataclass
class Matcher:
    """Matches patterns that were checked, as long as there is time."""

    seconds_left: float = field(default_factory=lambda: SECONDS)
    _literals: dict[str, re.Pattern[str]] = field(default_factory=dict)

    def full(self, pattern: str, name: str) -> bool:
        """Whether it matches the whole name, as ``re.fullmatch`` would say.

        Raises:
            ModelError: the time of all matches together is over.
        """
        return self._match(pattern, pattern, name)

    def suffix(self, pattern: str, name: str) -> bool:
        """Whether it matches the name, or what follows one of its dots: peft's rule.

        Raises:
            ModelError: as `full`.
        """
        return self._match(pattern, f"{_ANY_PARENT}({pattern})", name)

    def _match(self, pattern: str, whole: str, name: str) -> bool:
        if whole in self._literals:
            return self._literals[whole].fullmatch(name) is not None
        if _LITERAL.fullmatch(pattern):  # what peft writes itself, and nothing to search in
            self._literals[whole] = re.compile(whole)
            return self._literals[whole].fullmatch(name) is not None
        begun = time.process_time()
        try:
            match = _compiled(whole).fullmatch(name, timeout=max(1e-3, self.seconds_left))
        except TimeoutError:
            match, self.seconds_left = None, 0.0
        self.seconds_left -= time.process_time() - begun
        if self.seconds_left <= 0:
            raise ModelError(
                f"the adapter's patterns take more than {SECONDS:g} s to match "
                f"({pattern[:80]!r} among them)",
                "Name the layers in adapter_config.json instead: target_modules may be a list.",
            )
        return match is not None


def _compiled(pattern: str) -> Any:
    import regex

    return regex.compile(pattern)  # which keeps what it has compiled
