"""Patterns of adapters match as re (and so peft) matches them, or stop when their time is over."""

import re
import time

import pytest

from lvlora.errors import ModelError
from lvlora.model.patterns import Matcher, check

NAMES = [
    f"model.layers.{i}.{part}"
    for i in (0, 1, 10, 23)
    for part in ("self_attn.q_proj", "self_attn.k_proj", "mlp.down_proj", "mlp.gate_up_proj")
]
PATTERNS = [
    "q_proj",
    "model.layers.1.self_attn.q_proj",
    r"layers\.1\.self_attn\.q_proj",
    r".*\.0\..*",
    r"(q|k)_proj",
    r".*layers\.(1|10)\.mlp\.(down|gate_up)_proj",
    "[a-z_.0-9]+",
    r"layers\.\d{2}.*",
    "(?i:Q_PROJ)",
    r"(?!.*mlp).*",
    r".*(?<=q_)proj",
    "q",
    "",
    r"(.)\1?.*",
    "q_proj|k_proj",
    "q_",
    r"model.layers.\d+.mlp.(?:down|up)_proj",
    r"layers\.1.self_attn\.(?P<x>q)_proj$",
    "(a+)+$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_as_re_does(pattern):
    matcher = Matcher()
    assert check(pattern) == check(pattern, suffix=True) == pattern
    for name in NAMES:
        assert matcher.full(pattern, name) == bool(re.fullmatch(pattern, name))
        assert matcher.suffix(pattern, name) == bool(re.match(rf"(.*\.)?({pattern})$", name))


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "*",
        "a" * 2001,
        "(?e)x",
        "x{e<=1}",
        r"\p{L}",
        "[[:alpha:]]",
        "[a||b]",
        "(" * 1000,
        "(?R)",
        r"\L<x>",
        "(?|a|b)",
        "a)(b",
        r"\\{e<=1}",
    ],
)
def test_what_is_understood_in_two_ways_is_refused(pattern):
    with pytest.raises(ValueError, match=r"pattern"):
        check(pattern)


@pytest.mark.parametrize(
    "pattern", ["x{99999999}", "((x{99}){99}){99}", r"(\\{1001,})*", "x{1001}"]
)
def test_repeats_that_would_be_written_down_are_bounded(pattern):
    """`regex` takes 270 B for each before it has matched anything."""
    with pytest.raises(ValueError, match="more than 1,000 repeats"):
        check(pattern)


def test_one_clock_for_all():
    matcher = Matcher()
    begun = time.process_time()

    def match_all():
        for i in range(10_000):
            for name in NAMES:
                matcher.suffix(rf"{i}?(?:[a-z_.0-9]|[a-z_])*[A-Z{i}]!?", name)

    with pytest.raises(ModelError, match="more than 1 s"):
        match_all()
    assert time.process_time() - begun < 20  # compiling is no part of it, and bounded by number


def test_many_plain_names_take_no_time():
    names = [f"model.layers.{i}.self_attn.{p}_proj" for i in range(80) for p in "qkvo"]
    matcher = Matcher()
    begun = time.process_time()
    for name in names:
        assert sum(matcher.suffix(pattern, name) for pattern in names) == 1
    assert matcher.seconds_left == Matcher().seconds_left
    assert time.process_time() - begun < 3
