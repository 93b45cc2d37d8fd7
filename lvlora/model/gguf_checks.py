"""Distrust of GGUF: a file must say how large its model is, and hold tensors of that size.

Knows: the facts and tensors of one file. Does not know: how weights are loaded.
"""

from __future__ import annotations

import re
from pathlib import Path

from lvlora.errors import ModelError

_BLOCK = re.compile(r"blk\.(\d+)\.")
_INCOMPLETE = "Is the file complete? Llama, Qwen2, Qwen3 and Gemma files can be read."


def check_gguf(path: Path) -> None:
    """Refuse a file whose facts and tensors disagree.

    transformers would make a model of the facts, and of defaults where they are missing (thousands
    of millions of random weights), before it looks at the tensors.

    Raises:
        ModelError: a size is missing, or is not that of the tensors.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    shapes = {str(t.name): [int(n) for n in t.shape] for t in reader.tensors}
    architecture = reader.get_field("general.architecture")
    name = "" if architecture is None else str(architecture.contents())
    blocks = {found[1] for found in map(_BLOCK.match, shapes) if found}
    stored = {
        "block_count": len(blocks),
        "embedding_length": shapes.get("token_embd.weight", [0])[0],
        "feed_forward_length": shapes.get("blk.0.ffn_down.weight", [0])[0],
    }
    for key, size in stored.items():
        field = reader.get_field(f"{name}.{key}")
        said = None if field is None else field.contents()
        if said != size:
            raise ModelError(f"{path}: says {name}.{key} {said}, but stores {size:,}", _INCOMPLETE)
