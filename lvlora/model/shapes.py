"""The shape of a named model; no weights are needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from lvlora.errors import ModelError
from lvlora.flops.catalogue import find_shape
from lvlora.flops.shape import ModelShape


def shape_of(model: str) -> ModelShape:
    """The model's shape: known by name, from a config.json or a .gguf file, or from the hub cache.

    Raises:
        ModelError: it is not known, and there is no such folder.
    """
    if Path(model).suffix.lower() == ".gguf":
        from lvlora.model.catalogue import read_config, resolve

        source = resolve(model)
        config = read_config(source)
        if config is None:
            raise ModelError(
                f"{model}: the shape of this kind of .gguf file is not read here",
                "Give the model's short name, or a folder with its config.json.",
            )
        return ModelShape.from_config(config, name=source.name)
    # the catalogue looks into caches and files; a shape that is known by name needs none of it
    if model in ("auto", "bundled"):
        from lvlora.model.catalogue import resolve

        source = resolve(model)
        if source.kind == "bundled":
            found = dataclasses.replace(find_shape(source.location), name=source.name)
            return _with_tokens(found, Path(source.location))
        model = source.name
    try:
        return _with_tokens(find_shape(model), Path(model))
    except ModelError:
        if "/" not in model:
            raise
        from lvlora.model.catalogue import read_config, resolve

        config = read_config(resolve(model))
        if config is None:
            raise
        return ModelShape.from_config(config, name=model)


def _with_tokens(shape: ModelShape, folder: Path) -> ModelShape:
    """With as many rows of a restricted head as the folder's tokenizer has tokens for numbers."""
    if not (folder / "tokenizer.json").is_file():
        return shape  # a configuration alone: one for each symbol, where it says nothing else
    from lvlora.model.files.checks.tokenizer import check_tokenizer
    from lvlora.model.files.tokenizer import read_alphabet

    check_tokenizer(folder)
    alphabet = read_alphabet(folder, shape.name)
    if alphabet is None:
        from lvlora.model.catalogue import ModelSource
        from lvlora.model.loading import alphabet_of, load_tokenizer

        source = ModelSource("folder", shape.name, str(folder))
        alphabet = alphabet_of(load_tokenizer(source), shape.name)
    return dataclasses.replace(shape, alphabet_rows=len(alphabet.tokens))
