"""The tokenizer of numbers: plain transformers spells as lvlora does."""

import numeric_tokenizer
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.model.loading import alphabet_of
from lvlora.model.reading import read_alphabet
from lvlora.text.codec import Codec

SEVERAL = {
    "symbols": (),
    "pairs": ("0.2", "1.5", "5,", "0,", "0;"),
    "numbers": (
        *(f"{n // 100}.{n % 100:02}{s}" for n in range(1000) for s in ",;"),
        "?,",
        "?;",
    ),
}


@pytest.fixture(scope="module", params=SEVERAL)
def saved(request, tmp_path_factory):
    from transformers import AutoTokenizer

    several = SEVERAL[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    numeric_tokenizer.save(folder, several)
    return several, folder, AutoTokenizer.from_pretrained(folder)


def test_both_ways_of_reading_it_find_its_tokens(saved):
    several, folder, tokenizer = saved
    expected = numeric_tokenizer.alphabet(several)
    assert alphabet_of(tokenizer, "x") == expected
    assert read_alphabet(folder, "x") == expected
    assert len(tokenizer) == len(expected.tokens) + 1


@given(st.data())
def test_texts_are_spelled_alike(saved, data):
    several, _, tokenizer = saved
    codec = Codec(data.draw(st.integers(0, 3)), data.draw(st.integers(1, 3)))
    number = st.floats(-12, 120) | st.just(np.nan)
    row = st.lists(number, min_size=codec.n_variables, max_size=codec.n_variables)
    values = np.array(data.draw(st.lists(row, min_size=1, max_size=30)))
    text = codec.encode(values)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert ids == numeric_tokenizer.alphabet(several).encode(text).tolist()
    assert tokenizer.decode(ids) == text
