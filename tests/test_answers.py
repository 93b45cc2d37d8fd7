"""What every answer is made of: one model for Python, the table and --json."""

import math

import numpy as np
import pytest

from lvlora.answers import Answer, Number, Shape


class _Part(Shape):
    error: Number
    asked: int | None = None
    """Only where it was asked for."""


class _Whole(Answer):
    name: str
    parts: list[_Part]


def test_what_is_not_finite_is_null():
    for value in (math.nan, math.inf, np.float64("nan"), None):
        assert _Part(error=value).model_dump() == {"error": None}
    assert _Part(error=np.float32(1.5)).error == 1.5


def test_what_was_not_asked_for_is_not_there_and_an_explicit_none_is():
    assert _Part(error=1.0).model_dump() == {"error": 1.0}
    assert _Part(error=1.0, asked=None).model_dump_json() == '{"error":1.0,"asked":null}'


def test_an_unknown_key_and_a_wrong_type_are_refused():
    for wrong in ({"error": 1.0, "new": 1}, {"error": "1"}, {"error": 1.0, "asked": 1.5}):
        with pytest.raises(ValueError, match="validation error"):
            _Part(**wrong)


def test_the_version_comes_first_and_the_order_is_the_models():
    reference = _Whole(parts=[_Part(asked=2, error=0.5)], name="é")
    assert reference.model_dump_json() == (
        '{"schema_version":1,"name":"é","parts":[{"error":0.5,"asked":2}]}'
    )
