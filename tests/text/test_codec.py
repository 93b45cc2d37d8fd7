"""The text form and its tokens: exact, and honest about what is cut, wrong or not to be had."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lvlora.errors import DataError, ModelError
from lvlora.text.codec import SYMBOLS, Codec, TokenAlphabet

formats = st.sampled_from(["point", "digits"])
codecs = st.builds(
    Codec, decimals=st.integers(0, 8), n_variables=st.integers(1, 5), number_format=formats
)
ordinary = st.floats(-1000, 1000)
values_of_any_kind = st.one_of(
    ordinary, st.just(math.nan), st.floats(allow_nan=False, allow_infinity=False), st.just(-0.0)
)


def arrays(draw, codec, elements=values_of_any_kind, max_steps=8):
    n_steps = draw(st.integers(0, max_steps))
    return draw(hnp.arrays(np.float64, (n_steps, codec.n_variables), elements=elements))


@st.composite
def codec_and_values(draw, elements=values_of_any_kind):
    codec = draw(codecs)
    return codec, arrays(draw, codec, elements)


@given(codec_and_values())
def test_round_trip_is_within_half_a_unit(case):
    codec, values = case
    back = codec.decode(codec.encode(values))
    assert back.shape == values.shape
    assert np.array_equal(np.isnan(back), np.isnan(values))
    for x, y in zip(values.ravel().tolist(), back.ravel().tolist(), strict=True):
        if not math.isnan(x):
            # exactly: half a unit, and the error of the nearest float64 to the decimal number
            error = abs(Fraction(y) - Fraction(x))
            allowed = Fraction(1, 2 * 10**codec.decimals) + abs(Fraction(x)) * Fraction(2) ** -52
            assert error <= allowed


@given(st.integers(0, 8), st.integers(-(10**12), 10**12), formats)
def test_numbers_with_that_many_decimals_come_back_the_same(decimals, units, number_format):
    codec = Codec(decimals, 1, number_format)
    text = codec.format_units(units)
    assert codec.number(codec.value(text)) == text
    assert codec.value(text) == units / 10**decimals


@given(codec_and_values())
def test_the_formats_differ_in_points_and_leading_zeros_only(case):
    codec, values = case
    point, digits = replace(codec, number_format="point"), replace(codec, number_format="digits")
    pairs = zip(point.encode(values).split(";"), digits.encode(values).split(";"), strict=True)
    for with_point, without in pairs:
        for one, other in zip(with_point.split(","), without.split(","), strict=True):
            sign, bare = one[: one.startswith("-")], one.lstrip("-").replace(".", "")
            assert sign + (bare.lstrip("0") or bare[-1:]) == other
    assert np.array_equal(
        digits.decode(digits.encode(values)), point.decode(point.encode(values)), equal_nan=True
    )


def test_other_formats_are_unknown():
    with pytest.raises(ValueError, match="'roman' is no number format"):
        Codec(2, 1, "roman")
    with pytest.raises(DataError, match="whole number") as caught:
        Codec(2, 1, "digits").decode("1.50;")
    assert "25,150;27,147;" in caught.value.hint
    with pytest.raises(DataError):
        Codec(0, 1).decode("1.;")


@given(codec_and_values())
def test_every_step_is_one_string_and_ends_with_a_semicolon(case):
    codec, values = case
    steps = codec.encode_steps(values)
    assert len(steps) == len(values)
    assert all(step.endswith(";") and step.count(";") == 1 for step in steps)
    assert all(step.count(",") == codec.n_variables - 1 for step in steps)
    assert "".join(steps) == codec.encode(values)


@given(codec_and_values())
def test_a_step_without_its_end_is_refused(case):
    codec, values = case
    text = codec.encode(values)
    for cut in range(1, len(text)):
        if text[cut - 1] != ";":
            with pytest.raises(DataError):
                codec.decode(text[:cut])


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (1.23, 2, "1.23"),
        (0.0, 2, "0.00"),
        (-0.0, 2, "0.00"),
        (-0.004, 2, "0.00"),
        (-0.006, 2, "-0.01"),
        (-12.5, 1, "-12.5"),
        (0.125, 2, "0.12"),  # a tie goes to the even neighbour
        (0.375, 2, "0.38"),
        (9.999, 2, "10.00"),
        (7.0, 0, "7"),
        (0.4, 0, "0"),
        (math.nan, 3, "?"),
        (1e22, 2, "10000000000000000000000.00"),
        (2.0**53 + 2, 1, "9007199254740994.0"),
        (123456789012.345, 3, "123456789012.345"),
    ],
)
def test_numbers(value, decimals, text):
    assert Codec(decimals, 1).number(value) == text


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.25,1.50;0.27,1.47;", [[0.25, 1.5], [0.27, 1.47]]),
        ("", np.empty((0, 2))),
        (" 1.00, 2.00;\n3.00, 4.00;\n", [[1.0, 2.0], [3.0, 4.0]]),
    ],
)
def test_texts_with_and_without_white_space(text, values):
    assert np.array_equal(Codec().decode(text), values)
    assert Codec().encode(np.array(values)) == "".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        *("1.00;", "1.00,2.00,3.00;", "1.00,2.00;;", ",;"),  # not two values
        *("1.00,x;", "1.00,2.0;", "1.00,2.000;", "1,2;", "nan,inf;", "1.00,.50;", "1.00,2 .00;"),
        *("1.00,+2.00;", "1.00,--2.00;", "1.00,1e5;", "1.00," + "9" * 400 + ".00;"),
        "١.00,2.00;",  # a digit, but not of the alphabet
        *("1.00,2.00;3.00,abc", "1.00,2.00;3.00,4.00,5", "1.00,2.00;3.000", "1.00,2.00;-,"),
        *("1.00,2.00;.5", "1.00,2.00;??"),
    ],
)
def test_malformed_text_is_refused(text):
    with pytest.raises(DataError):
        Codec().decode(text)


def test_infinity_has_no_text():
    with pytest.raises(DataError, match="infinite"):
        Codec().encode(np.array([[1.0, math.inf]]))


@pytest.mark.parametrize("shape", [(3,), (3, 3), (3, 1), (2, 2, 2)])
def test_another_shape_is_a_programming_error(shape):
    with pytest.raises(ValueError, match="expected shape"):
        Codec().encode(np.zeros(shape))


@given(st.text(alphabet="0123456789.,;-? x\n", max_size=60), codecs)
def test_any_text_decodes_or_is_refused(text, codec):
    try:
        values = codec.decode(text)
    except DataError:
        return
    assert values.shape[1] == codec.n_variables
    assert not np.isinf(values).any()


texts = st.text(alphabet=SYMBOLS, max_size=50)
id_sets = st.lists(st.integers(0, 10**6), min_size=15, max_size=15, unique=True).map(tuple)


@given(texts, id_sets)
def test_text_to_ids_and_back(text, ids):
    alphabet = TokenAlphabet(ids)
    encoded = alphabet.encode(text)
    assert encoded.dtype == np.int64
    assert encoded.tolist() == [ids[SYMBOLS.index(c)] for c in text]
    assert alphabet.decode(encoded.tolist()) == text


@given(id_sets, st.lists(st.integers(-100, 10**6 + 100), max_size=30))
def test_classes_are_places_in_the_alphabet(ids, tokens):
    array = np.array([*tokens, *ids], dtype=np.int64)
    expected = [ids.index(t) if t in ids else -1 for t in array.tolist()]
    assert TokenAlphabet(ids).classes(array).tolist() == expected


@pytest.mark.parametrize("text", ["a", "1 2", "+1", "१"])
def test_other_symbols_have_no_id(text):
    with pytest.raises(KeyError):
        TokenAlphabet(tuple(range(15))).encode(text)
    with pytest.raises(KeyError):
        TokenAlphabet(tuple(range(15))).decode([15])


def byte_pairs(
    merges: list[tuple[str, str]], missing: str = "", split_digits: bool = False, apart: str = ""
):
    """A byte-pair tokenizer that knows the ASCII characters and these merges.

    Args:
        apart: a token that is in the vocabulary, and never in a text.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokens = [c for c in map(chr, range(32, 127)) if c not in missing]
    tokens += [a + b for a, b in merges]
    merges = [pair for pair in merges if "".join(pair) != apart]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    if split_digits:
        tokenizer.pre_tokenizer = pre_tokenizers.Digits(individual_digits=True)

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False).ids

    encode.vocabulary = tokenizer.get_vocab
    return encode


def test_a_tokenizer_of_single_characters_is_accepted():
    encode = byte_pairs([("a", "b"), (",", "-"), ("-", "1")])  # merges that plain text never has
    alphabet = TokenAlphabet.from_tokenizer(encode, start=7, name="x")
    assert alphabet.ids == tuple(ord(c) - 32 for c in SYMBOLS)
    assert alphabet.start == 7
    text = Codec(2, 2).encode(np.array([[1.5, -0.25], [np.nan, 10.0]]))
    assert alphabet.decode(alphabet.encode(text).tolist()) == text


@pytest.mark.parametrize(
    ("merges", "text", "tokens"),
    [
        ([("2", "3")], "1.23,2.32;", ["1", ".", "23", ",", "2", ".", "3", "2", ";"]),
        ([("9", "9"), ("99", "9")], "9999.99;", ["999", "9", ".", "99", ";"]),
        ([("0", ".")], "0.20,10.07;", ["0.", "2", "0", ",", "1", "0.", "0", "7", ";"]),
        ([("0", ";")], "0.20,1.00;", ["0", ".", "2", "0", ",", "1", ".", "0", "0;"]),
        # tokens that reach into two numbers are left alone
        ([("2", "3"), (",", "1"), (";", "0"), (",", "-")], "0.23,1.00;", [*"0.", "23", *",1.00;"]),
    ],
    ids=str,
)
def test_tokens_of_several_symbols_are_used_the_longest_first(merges, text, tokens):
    encode = byte_pairs(merges)
    alphabet = TokenAlphabet.from_tokenizer(encode, vocabulary=encode.vocabulary)
    assert [alphabet.tokens[i] for i in alphabet.spell(text)] == tokens
    assert alphabet.count(text) == len(tokens)
    ids = alphabet.encode(text).tolist()
    assert alphabet.decode(ids) == text
    assert alphabet.classes(np.array([*ids, 10**6])).tolist() == [*alphabet.spell(text), -1]


def test_tokens_that_the_tokenizer_never_makes_are_not_used():
    encode = byte_pairs([("2", "3"), ("3", "4")], apart="34")
    alphabet = TokenAlphabet.from_tokenizer(encode, vocabulary=encode.vocabulary)
    assert alphabet.tokens == (*SYMBOLS, "23")


def test_merged_digits_are_fine_where_the_tokenizer_splits_digits_first():
    TokenAlphabet.from_tokenizer(byte_pairs([("2", "3")], split_digits=True))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_a_symbol_that_is_not_one_token_is_refused(symbol):
    with pytest.raises(ModelError, match="as 0 tokens"):
        TokenAlphabet.from_tokenizer(byte_pairs([], missing=symbol))


def test_two_symbols_with_one_token_are_refused():
    def encode(text):
        return [ord(c) if c not in "?-" else 0 for c in text]

    with pytest.raises(ModelError, match="one token"):
        TokenAlphabet.from_tokenizer(encode)
