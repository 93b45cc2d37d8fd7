"""Types and ranges of all that is read of a `config.json`, by us or by others."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lvlora.errors import ModelError
from lvlora.flops.shape import FAMILIES

M = TypeVar("M", bound=BaseModel)
CONFIG_HINT = "Take the model's own config.json, whole."

Count = Annotated[int, Field(ge=1, le=2**40)]
"""A number of rows, columns or layers; the weights must have as many (`model.distrust`)."""
Places = Annotated[int, Field(ge=1, le=2**31 - 1)]
Size = Annotated[float, Field(ge=1e-6, le=1e12, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Token = Annotated[int, Field(ge=-1, le=2**31 - 1)]
"""-1 is transformers' way to say none."""
Word = Annotated[str, Field(max_length=1000)]
Words = Annotated[list[Word], Field(max_length=1000)]
Factor = Annotated[float, Field(ge=1e-3, le=1e6)]
Factors = Annotated[list[Factor], Field(max_length=10_000)]


class Rope(BaseModel):
    """Rotary positions, also once more by kind of layer (Gemma 3)."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)

    rope_type: Word | None = None
    rope_theta: Size | None = None
    factor: Factor | None = None
    low_freq_factor: Factor | None = None
    high_freq_factor: Factor | None = None
    attention_factor: Factor | None = None
    beta_fast: Factor | None = None
    beta_slow: Factor | None = None
    mscale: Factor | None = None
    mscale_all_dim: Factor | None = None
    short_factor: Factors | None = None
    long_factor: Factors | None = None
    partial_rotary_factor: Annotated[float, Field(gt=0, le=1)] | None = None
    original_max_position_embeddings: Places | None = None
    full_attention: Rope | None = None
    sliding_attention: Rope | None = None


class ModelConfig(BaseModel):
    """A transformers configuration of one of the families; keys that are not here are passed over.

    Sizes that have no default are required. Null is the same as left out.
    """

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, defer_build=True, protected_namespaces=()
    )

    model_type: Word
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count | None = None
    head_dim: Count | None = None
    vocab_size: Count
    max_position_embeddings: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    tie_word_embeddings: bool | None = None
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    use_sliding_window: bool | None = None
    use_bidirectional_attention: Literal[False] | None = None
    use_cache: bool | None = None
    hidden_act: Word | None = None
    hidden_activation: Word | None = None
    rms_norm_eps: Annotated[float, Field(ge=0, le=1)] | None = None
    rope_theta: Size | None = None
    rope_local_base_freq: Size | None = None
    rope_parameters: Rope | None = None
    rope_scaling: Rope | None = None
    partial_rotary_factor: Annotated[float, Field(gt=0, le=1)] | None = None
    attn_logit_softcapping: Size | None = None
    final_logit_softcapping: Size | None = None
    query_pre_attn_scalar: Size | None = None
    sliding_window: Places | None = None
    sliding_window_pattern: Places | None = None
    max_window_layers: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    layer_types: (
        Annotated[list[Literal["full_attention", "sliding_attention"]], Field(max_length=100_000)]
        | None
    ) = None
    attention_dropout: Share | None = None
    initializer_range: Annotated[float, Field(ge=0, le=1e3)] | None = None
    pretraining_tp: Places | None = None
    bos_token_id: Token | Annotated[list[Token], Field(max_length=1000)] | None = None
    eos_token_id: Token | Annotated[list[Token], Field(max_length=1000)] | None = None
    pad_token_id: Token | None = None
    architectures: Words | None = None
    torch_dtype: Any = None
    transformers_weights: None = None
    id2label: Annotated[dict[Any, Any], Field(max_length=1000)] | None = None
    label2id: Annotated[dict[Any, Any], Field(max_length=1000)] | None = None
    alphabet_rows: Count | None = None
    num_labels: Annotated[int, Field(ge=0, le=1000)] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        # named beforehand: a layer's kind for each layer, tokens in the vocabulary
        if self.layer_types is not None and len(self.layer_types) != self.num_hidden_layers:
            raise ValueError(
                f"layer_types has {len(self.layer_types):,} entries for "
                f"{self.num_hidden_layers:,} layers"
            )
        family = FAMILIES.get(self.model_type)
        windowed = family is not None and family.windowed
        if self.layer_types is not None:
            windowed = "sliding_attention" in self.layer_types
        if windowed and self.sliding_window is None and "sliding_window" in self.model_fields_set:
            raise ValueError("sliding_window is null, and there are layers with a window")
        for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
            value = getattr(self, key)
            for token in value if isinstance(value, list) else [value]:
                if token is not None and token >= self.vocab_size:
                    raise ValueError(
                        f"{key} {token:,} is not in a vocabulary of {self.vocab_size:,}"
                    )
        return self


def validated(model: type[M], content: object, name: object, hint: str) -> M:
    """Return what a file holds as a model that checks types and ranges.

    Args:
        name: of the file, for messages.

    Raises:
        ModelError: it is no such thing.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"{name}: {complaint(error)}", hint) from None


def _is_kind(part: str) -> bool:
    """Pydantic's suffix of a place where one of several types could be."""
    return "[" in part or part in ("int", "float", "str", "bool")


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part)[:80] for part in first["loc"] if not _is_kind(str(part)))
    if first["type"] == "missing":
        return f"{key} is missing"
    if first["type"] == "value_error" and not key:
        return str(first["ctx"]["error"])
    words = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
    value = repr(first["input"])
    return f"{key} is {value[:80]}{'…' if len(value) > 80 else ''}: it {words}"
