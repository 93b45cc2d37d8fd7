"""Tokens for the text form in any vocabulary, or a refusal that explains itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.errors import ModelError
from lvlora.text.alphabet import SYMBOLS, TokenAlphabet
from lvlora.text.codec import Codec

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
