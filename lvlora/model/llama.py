"""Llama's and Qwen2's decoder: transformers' numbers, without importing transformers.

Importing transformers' model loader takes longer than a forecast of the bundled model does
(docs/notes/speed.md), and these two families are used most here. All others go through
transformers, and so do these where only its own class will do (`loading.load`). Adapters find the
layers by the names that transformers and PEFT give them.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lvlora.flops.shape import ModelShape
from lvlora.model.attention import grouped_attention
from lvlora.model.cache import RowCache
from lvlora.model.elementwise import gated_silu, rms_norm


class Linear(nn.Linear):
    """A linear layer that draws no initial values: all come from a file."""

    def reset_parameters(self) -> None:
        pass


class Embedding(nn.Embedding):
    """An embedding that draws no initial values either."""

    def reset_parameters(self) -> None:
        pass


class Rotation(NamedTuple):
    """cos and sin of every position's angles, each (B or 1, 1, S, head dim)."""

    cos: Tensor
    sin: Tensor

    def turn(self, x: Tensor) -> Tensor:
        """Rotary positions (Su et al. 2021, arXiv:2104.09864) for (B, heads, S, head dim)."""
        half = x.shape[-1] // 2
        turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
        return x * self.cos + turned * self.sin


class Hidden(NamedTuple):
    """Output of a decoder: (B, S, hidden)."""

    last_hidden_state: Tensor


class RmsNorm(nn.Module):
    """`elementwise.rms_norm` with its weight."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class Attention(nn.Module):
    """Causal attention with rotary positions and grouped heads."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = shape.head_dim
        self.q_proj = _linear(shape, "q_proj")
        self.k_proj = _linear(shape, "k_proj")
        self.v_proj = _linear(shape, "v_proj")
        self.o_proj = _linear(shape, "o_proj")

    def forward(
        self, x: Tensor, rotation: Rotation, mask: Tensor | None, cache: RowCache | None
    ) -> Tensor:
        q, k, v = (
            project(x).view(*x.shape[:2], -1, self.head_dim).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotation.turn(q), rotation.turn(k)
        if cache is not None:
            k, v = cache.rows[self.layer].update(k, v)
        states, _ = grouped_attention(self, q, k, v, mask)
        out: Tensor = self.o_proj(states.reshape(*x.shape[:2], -1))
        return out


class GatedUnit(nn.Module):
    """down(silu(gate x) · up x)."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.gate_proj = _linear(shape, "gate_proj")
        self.up_proj = _linear(shape, "up_proj")
        self.down_proj = _linear(shape, "down_proj")

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(gated_silu(self.gate_proj(x), self.up_proj(x)))
        return out


class Layer(nn.Module):
    """x + attention(norm x), then x + unit(norm x)."""

    def __init__(self, shape: ModelShape, layer: int) -> None:
        super().__init__()
        self.self_attn = Attention(shape, layer)
        self.mlp = GatedUnit(shape)
        self.input_layernorm = RmsNorm(shape.hidden, shape.norm_eps)
        self.post_attention_layernorm = RmsNorm(shape.hidden, shape.norm_eps)

    def forward(
        self, x: Tensor, rotation: Rotation, mask: Tensor | None, cache: RowCache | None
    ) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), rotation, mask, cache)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class Decoder(nn.Module):
    """Ids to hidden states."""

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.embed_tokens = Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList(Layer(shape, i) for i in range(shape.layers))
        self.norm = RmsNorm(shape.hidden, shape.norm_eps)
        # (head dim / 2), float32 whatever the weights are; from the CPU, as transformers has them
        exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float, device="cpu")
        self.frequencies = 1.0 / shape.rope_theta ** (exponents / shape.head_dim)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        use_cache: bool = False,
        cache: RowCache | None = None,
    ) -> Hidden:
        """As transformers' decoders are called.

        Args:
            input_ids: (B, S).
            attention_mask: (B, 1, S, keys), True where a token may look, or to be added to the
                scores; None: causal, over S.
            position_ids: (B, S); None: 0 to S - 1.
            use_cache: nothing; whether there is a ``cache`` says it.
        """
        x = self.embed_tokens(input_ids).to(self.norm.weight.dtype)
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=x.device)[None]
        rotation = self._rotation(position_ids, x.dtype)
        for layer in self.layers:
            x = layer(x, rotation, attention_mask, cache)
        return Hidden(self.norm(x))

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> Rotation:
        if self.frequencies.device != positions.device:
            self.frequencies = self.frequencies.to(positions.device)
        angles = positions[:, None, :, None].float() * self.frequencies
        angles = torch.cat((angles, angles), dim=-1)
        return Rotation(angles.cos().to(dtype), angles.sin().to(dtype))


class Llama(nn.Module):
    """The decoder and its head, with the accessors of transformers that lvlora uses.

    The weights of embedding and head may be narrower than the others: only rows are widened.

    Attributes:
        config: the parsed ``config.json``, by attribute.
    """

    def __init__(self, shape: ModelShape, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = SimpleNamespace(**config)
        self.model = Decoder(shape)
        self.lm_head = Linear(shape.hidden, shape.vocab, bias=False)

    def get_decoder(self) -> nn.Module:
        """Without the head."""
        return self.model

    def get_input_embeddings(self) -> nn.Module:
        """The embedding of tokens."""
        return self.model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        """The head."""
        return self.lm_head

    def forward(self, input_ids: Tensor, **how: Any) -> SimpleNamespace:
        """As transformers' causal models are called; its ``logits`` are (B, S, vocabulary)."""
        hidden = self.model(input_ids, **how).last_hidden_state
        weight = self.lm_head.weight.to(hidden.dtype)
        return SimpleNamespace(logits=nn.functional.linear(hidden, weight))


def _linear(shape: ModelShape, name: str) -> nn.Linear:
    n_in, n_out = shape.linear_layers()[name]
    return Linear(n_in, n_out, bias=shape.has_bias(name))
