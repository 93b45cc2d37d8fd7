"""The bundled model's tokenizer: one token for each symbol of the numeric alphabet, and a start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lvlora.text.alphabet import SYMBOLS

START_TOKEN = "<s>"
START_ID = len(SYMBOLS)
VOCABULARY_SIZE = len(SYMBOLS) + 1


def save(folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, which plain transformers loads."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {symbol: i for i, symbol in enumerate(SYMBOLS)} | {START_TOKEN: START_ID}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    make: Any = PreTrainedTokenizerFast
    make(
        tokenizer_object=tokenizer,
        bos_token=START_TOKEN,
        pad_token=START_TOKEN,
        unk_token="?",
        clean_up_tokenization_spaces=False,
    ).save_pretrained(str(folder))
