"""A tokenizer of numbers and nothing else, as the bundled model has one.

It has a token for each symbol of the numeric alphabet and a start, and any others of several
symbols (a number with its separator, say). Texts are spelled as `lvlora.text.codec` spells
them: from the left, the longest token first.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lvlora.text.codec import SYMBOLS, TokenAlphabet

START_TOKEN = "<s>"
START_ID = len(SYMBOLS)


def alphabet(several: Sequence[str] = ()) -> TokenAlphabet:
    """Symbols, start and tokens of several symbols have ids in this order."""
    first = START_ID + 1
    ids = (*range(START_ID), *range(first, first + len(several)))
    return TokenAlphabet(ids, START_ID, (*SYMBOLS, *several))


def save(folder: Path, several: Sequence[str] = ()) -> None:
    """Write tokenizer.json and tokenizer_config.json, which plain transformers loads."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate((*SYMBOLS, START_TOKEN, *several))}
    if several:  # a model that takes the longest token first, number by number
        unknown, pieces = START_TOKEN, "[^,;]*[,;]?"  # what is special is cut out beforehand
        model: Any = models.WordPiece(vocabulary, unk_token=unknown, continuing_subword_prefix="")
    else:
        unknown, pieces = "?", "."
        model = models.WordLevel(vocabulary, unk_token=unknown)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pieces), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    make: Any = PreTrainedTokenizerFast
    make(
        tokenizer_object=tokenizer,
        bos_token=START_TOKEN,
        pad_token=START_TOKEN,
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(str(folder))
