"""The shape of a Llama-like decoder, read from a `config.json` alone, and where it has LoRA.

`FAMILIES` are the models that can be priced and opened, by transformers' names for them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.errors import ModelError, SettingsError, meant

ATTENTION_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP_LINEARS = ("gate_proj", "up_proj", "down_proj")
LINEARS = ATTENTION_LINEARS + MLP_LINEARS

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
ALPHABET_ROWS = 15
"""Symbols of the numeric alphabet: ten digits and ``.,;-?``."""


@dataclass(frozen=True)
class Family:
    """Differences of a family from Llama, and what its configurations leave unsaid.

    A family that is added to `FAMILIES` is loaded through transformers.

    Attributes:
        architecture: transformers' class of its language model.
        own_modules: `model.llama` covers it, and gives transformers' numbers.
        qkv_bias: queries, keys and values always have a bias, and no other linear layer of the
            attention has one; elsewhere ``attention_bias`` decides for all four.
        mlp_bias: ``mlp_bias`` may ask for biases in the MLP.
        may_omit_kv_heads: without ``num_key_value_heads`` each head has its own.
        head_dim, tied, activation, rope_theta: where a configuration gives none; the size of a head
            is then the hidden size over the heads.
        soft_caps: scores and logits are capped, unless a configuration says null.
        windowed: layers with a sliding window, unless a configuration lists its layers.
        qk_norm, sandwich_norms, unit_offset_norms: as of `ModelShape`.
    """

    architecture: str
    own_modules: bool = False
    qkv_bias: bool = False
    mlp_bias: bool = False
    may_omit_kv_heads: bool = False
    head_dim: int | None = None
    tied: bool = False
    activation: str = "silu"
    rope_theta: float = 1e4
    soft_caps: bool = False
    windowed: bool = False
    qk_norm: bool = False
    sandwich_norms: bool = False
    unit_offset_norms: bool = False


_GELU = "gelu_pytorch_tanh"

FAMILIES = {
    "qwen2": Family("Qwen2ForCausalLM", own_modules=True, qkv_bias=True),
    "qwen3": Family("Qwen3ForCausalLM", head_dim=128, qk_norm=True),
    "llama": Family("LlamaForCausalLM", own_modules=True, mlp_bias=True, may_omit_kv_heads=True),
    "gemma": Family(
        "GemmaForCausalLM", head_dim=256, tied=True, activation=_GELU, unit_offset_norms=True
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        head_dim=256,
        tied=True,
        activation=_GELU,
        soft_caps=True,
        windowed=True,
        sandwich_norms=True,
        unit_offset_norms=True,
    ),
    "gemma3_text": Family(
        "Gemma3ForCausalLM",
        head_dim=256,
        tied=True,
        activation=_GELU,
        rope_theta=1e6,
        windowed=True,
        qk_norm=True,
        sandwich_norms=True,
        unit_offset_norms=True,
    ),
}


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder-only transformer with RMSNorm, rotary positions and a gated MLP.

    Attributes:
        vocab: V rows of the embedding; hidden, intermediate: sizes H and I.
        head_dim: size of one head, of which there are heads for queries, kv_heads for the others.
        tied: the output head is the embedding matrix.
        qk_norm: queries and keys are normalised per head (Qwen3, Gemma 3).
        sandwich_norms: a norm after attention and MLP as well (Gemma 2 and 3).
        unit_offset_norms: norms multiply by (1 + weight), embeddings by sqrt(H) (Gemma).
        activation: "silu" or "gelu_tanh".
        attention_softcap, final_softcap: tanh soft-capping of scores and logits (Gemma 2).
        alphabet_rows: tokens that numbers are written with, the rows of a restricted head; 15 with
            one for each symbol.
    """

    model_type: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    sandwich_norms: bool = False
    unit_offset_norms: bool = False
    activation: str = "silu"
    attention_softcap: bool = False
    final_softcap: bool = False
    max_positions: int = 0
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    bos_id: int | None = None
    eos_id: int | None = None
    name: str = ""
    alphabet_rows: int = ALPHABET_ROWS

    @classmethod
    def from_config(cls, config: Mapping[str, Any], name: str = "config") -> ModelShape:
        """The shape a transformers configuration describes.

        Args:
            config: the parsed `config.json`; `rope_theta` at top level or in `rope_parameters`.
            name: what to call the model in messages and tables.

        Raises:
            ModelError: an unknown family, a missing key, or a value that is no size.
        """
        model_type = config.get("model_type")
        if not isinstance(model_type, str) or model_type not in FAMILIES:
            raise ModelError(
                f"{name}: model_type {repr(model_type)[:80]} is not supported",
                f"Supported: {', '.join(FAMILIES)}.",
            )
        from lvlora.flops.model_config import CONFIG_HINT, ModelConfig, validated  # pydantic

        family = FAMILIES[model_type]
        fields = validated(ModelConfig, dict(config), name, CONFIG_HINT)
        hidden, heads = fields.hidden_size, fields.num_attention_heads
        kv_heads = fields.num_key_value_heads
        if kv_heads is None and not family.may_omit_kv_heads:
            raise ModelError(f"{name}: num_key_value_heads is missing", CONFIG_HINT)
        kv_heads = kv_heads or heads
        if heads % kv_heads:
            raise ModelError(
                f"{name}: {heads} attention heads cannot share {kv_heads} key/value heads",
                "num_attention_heads must be a multiple of num_key_value_heads.",
            )
        activation = fields.hidden_activation or fields.hidden_act or family.activation
        if activation not in _ACTIVATIONS:
            raise ModelError(
                f"{name}: activation {activation!r} is not supported",
                f"Supported: {', '.join(_ACTIVATIONS)}.",
            )
        # transformers 5 nests it, and Gemma 3 once more by kind of layer
        rope = fields.rope_parameters
        rope = rope and (rope.full_attention or rope)
        attention_bias = bool(fields.attention_bias)

        def has_cap(key: str) -> bool:
            return config.get(key, family.soft_caps or None) is not None

        return cls(
            model_type=model_type,
            hidden=hidden,
            intermediate=fields.intermediate_size,
            layers=fields.num_hidden_layers,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=fields.head_dim or family.head_dim or hidden // heads,
            vocab=fields.vocab_size,
            tied=family.tied if fields.tie_word_embeddings is None else fields.tie_word_embeddings,
            qkv_bias=family.qkv_bias or attention_bias,
            o_bias=attention_bias and not family.qkv_bias,
            mlp_bias=family.mlp_bias and bool(fields.mlp_bias),
            qk_norm=family.qk_norm,
            sandwich_norms=family.sandwich_norms,
            unit_offset_norms=family.unit_offset_norms,
            activation=_ACTIVATIONS[activation],
            attention_softcap=has_cap("attn_logit_softcapping"),
            final_softcap=has_cap("final_logit_softcapping"),
            max_positions=fields.max_position_embeddings or 0,
            rope_theta=(rope and rope.rope_theta) or fields.rope_theta or family.rope_theta,
            norm_eps=1e-6 if fields.rms_norm_eps is None else fields.rms_norm_eps,
            bos_id=_token(fields.bos_token_id),
            eos_id=_token(fields.eos_token_id),
            name=name,
            alphabet_rows=fields.alphabet_rows or ALPHABET_ROWS,
        )

    @classmethod
    def from_file(cls, path: Path) -> ModelShape:
        """The shape described by a `config.json`, or by the one in a model folder.

        Raises:
            ModelError: the file is missing, not JSON, or not a supported configuration.
        """
        file = path / "config.json" if path.is_dir() else path
        hint = "Give a model folder with a config.json, or a short name such as qwen2.5-0.5b."
        config = durable.read_json_object(file, wrong=ModelError, hint=hint)
        return cls.from_config(config, name=str(file.parent if path.is_dir() else file))

    def linear_layers(self) -> dict[str, tuple[int, int]]:
        """(in, out) of each linear layer of one transformer layer, in the order they run."""
        h, i = self.hidden, self.intermediate
        # the width of all query heads is not H in Qwen3 and Gemma
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (h, q),
            "k_proj": (h, kv),
            "v_proj": (h, kv),
            "o_proj": (q, h),
            "gate_proj": (h, i),
            "up_proj": (h, i),
            "down_proj": (i, h),
        }

    def has_bias(self, linear: str) -> bool:
        """Whether this linear layer of a transformer layer adds a bias."""
        if linear in MLP_LINEARS:
            return self.mlp_bias
        return self.o_bias if linear == "o_proj" else self.qkv_bias

    def parameter_count(self) -> dict[str, int]:
        """Parameters by part; a tied head has none of its own.

        Returns:
            embeddings, attention, mlp, norms, head, and their total.
        """
        per_layer = {
            name: n_in * n_out + (n_out if self.has_bias(name) else 0)
            for name, (n_in, n_out) in self.linear_layers().items()
        }
        layer_norms = (4 if self.sandwich_norms else 2) * self.hidden
        if self.qk_norm:
            layer_norms += 2 * self.head_dim
        parts = {
            "embeddings": self.vocab * self.hidden,
            "attention": self.layers * sum(per_layer[name] for name in ATTENTION_LINEARS),
            "mlp": self.layers * sum(per_layer[name] for name in MLP_LINEARS),
            "norms": self.layers * layer_norms + self.hidden,
            "head": 0 if self.tied else self.vocab * self.hidden,
        }
        return {**parts, "total": sum(parts.values())}


def _token(value: int | list[int] | None) -> int | None:
    """The first of several."""
    if isinstance(value, list):
        value = value[0] if value else None
    return None if value is None or value < 0 else value


ALL_LINEAR = "all-linear"


def resolve_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """The linear layers meant by these names, in the order they run, each once.

    Raises:
        SettingsError: a name that no layer has.
    """
    wanted = set(targets)
    unknown = sorted(wanted - set(LINEARS) - {ALL_LINEAR})
    if unknown or not wanted:
        guess = meant(unknown[0], (*LINEARS, ALL_LINEAR)) if unknown else ""
        raise SettingsError(
            f"--targets {unknown[0]}: the model has no such linear layer"
            if unknown
            else "--targets: empty",
            f"{guess}Choose from {', '.join(LINEARS)}, or {ALL_LINEAR}.",
        )
    return LINEARS if ALL_LINEAR in wanted else tuple(n for n in LINEARS if n in wanted)


@dataclass(frozen=True)
class Lora:
    """The LoRA of a model; ``Lora()`` is none.

    Attributes:
        rank: r; 0 is the plain model.
        targets: names of linear layers, in the order they run.
        layers: transformer layers that have it; None is all.
    """

    rank: int = 0
    targets: tuple[str, ...] = ()
    layers: frozenset[int] | None = None

    @classmethod
    def of(
        cls, rank: int, targets: Iterable[str] = (), layers: Collection[int] | None = None
    ) -> Lora:
        """Return a LoRA from names of a user (all-linear included); rank 0 gives none."""
        if rank == 0:
            return cls()
        return cls(rank, resolve_targets(targets), None if layers is None else frozenset(layers))

    def on(self, linear: str, layer: int) -> bool:
        """Whether this linear layer of this transformer layer has an update."""
        return self.rank > 0 and linear in self.targets and self.in_layer(layer)

    def in_layer(self, layer: int) -> bool:
        """Whether this transformer layer has any update."""
        return self.rank > 0 and (self.layers is None or layer in self.layers)

    def n_layers(self, shape: ModelShape) -> int:
        """How many of the model's layers have it."""
        return sum(self.in_layer(layer) for layer in range(shape.layers))
