"""Real steps and decoding calls on tensors without data, under PyTorch's FLOP counter.

``lvlora flops --measure`` holds the closed forms of `lvlora.flops.executed` to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lvlora.flops import executed
from lvlora.flops.answers import FlopsMeasure, Measurement, total
from lvlora.flops.settings import FlopsSettings
from lvlora.flops.shape import ALPHABET_ROWS, FAMILIES, Lora, ModelShape
from lvlora.model import attention
from lvlora.model.cache import RowCache
from lvlora.model.head import NumericHead, cache_argument
from lvlora.model.lora import LoraPlan, inject
from lvlora.text.codec import SYMBOLS, TokenAlphabet
from lvlora.text.windows import Batch
from lvlora.train.loop import Objective

META = torch.device("meta")


def build_model(shape: ModelShape, device: torch.device = META, kernel: str = "") -> Any:
    """Make a transformers model of this shape, without data by default.

    ``kernel`` is transformers' name of the attention; default: lvlora's own.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    options: dict[str, Any] = {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "tie_word_embeddings": shape.tied,
        "max_position_embeddings": max(shape.max_positions, 8192),
        "pad_token_id": None,
    }
    family = FAMILIES[shape.model_type]
    if not family.qkv_bias:
        options["attention_bias"] = shape.o_bias
    if family.mlp_bias:
        options["mlp_bias"] = shape.mlp_bias
    config = AutoConfig.for_model(shape.model_type, **options)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, attn_implementation=kernel or attention.register()
        )


def put_lora(model: Any, lora: Lora) -> None:
    """Put the updates, if any, into the model."""
    if lora.rank:
        layers = None if lora.layers is None else tuple(sorted(lora.layers))
        inject(model, LoraPlan(rank=lora.rank, targets=lora.targets, layers=layers))


def train_step(
    model: Any,
    batch: int,
    seq_len: int,
    *,
    lora: Lora,
    loss: str = "numeric",
    train_head: str = "none",
    alphabet_rows: int = ALPHABET_ROWS,
) -> tuple[int, int]:
    """Count FLOPs of (forward, backward) of one micro-batch; LoRA is put into the model."""
    model.train().requires_grad_(False)
    put_lora(model, lora)
    alphabet = _alphabet(alphabet_rows)
    head = None
    if train_head == "full":
        output = model.get_output_embeddings()
        place, sizes = output.weight.device, (output.in_features, output.out_features)
        model.set_output_embeddings(nn.Linear(*sizes, bias=False, device=place))
    elif loss == "numeric":
        head = NumericHead(model, alphabet, trainable=train_head == "numeric")
    objective = Objective(model, alphabet, head)
    # transformers would look into the data for packed sequences; a given mask is taken as it is
    mask = torch.ones(batch, 1, seq_len, seq_len, dtype=torch.bool, device=objective.device)
    objective.decoder = partial(objective.decoder, attention_mask=mask)
    inputs = torch.zeros(batch, seq_len, dtype=torch.long).numpy()
    data = Batch(inputs=inputs, targets=inputs.copy())
    losses: list[Tensor] = []
    forward = count(lambda: losses.append(objective.loss_sum(data)))
    backward = count(losses[0].backward) if losses[0].requires_grad else 0
    return forward, backward


def _alphabet(rows: int) -> TokenAlphabet:
    """Return an alphabet of so many tokens, with any text."""
    more = (str(i) for i in range(rows - len(SYMBOLS)))
    return TokenAlphabet(tuple(range(rows)), tokens=(*SYMBOLS, *more))


@torch.no_grad()
def generation(
    model: Any,
    batch: int,
    context: int,
    widths: Sequence[int],
    *,
    alphabet_rows: int = ALPHABET_ROWS,
) -> tuple[list[int], list[int]]:
    """Count FLOPs of a prefill and of calls with so many new tokens each, with lvlora's cache.

    Return these FLOPs, and the positions that each call attended to.
    """
    model.eval()
    cpu, meta = torch.device("cpu"), next(model.parameters()).device
    head, decoder = NumericHead(model, _alphabet(alphabet_rows)), model.get_decoder()
    as_argument = cache_argument(decoder)
    # lengths are real numbers, only the buffers have no data
    cache = RowCache(model.config.num_hidden_layers, context + 1, cpu)

    def prefill() -> None:
        tokens = torch.zeros(batch, context, dtype=torch.long, device=meta)
        hidden = decoder(input_ids=tokens, use_cache=True, **as_argument(cache)).last_hidden_state
        head(hidden[:, -1])

    def call(width: int) -> None:
        positions, mask = cache.prepare(width)
        masks: Any = mask.to(meta)
        if "sliding_attention" in (getattr(model.config, "layer_types", None) or ()):
            masks = dict.fromkeys(("full_attention", "sliding_attention"), masks)
        hidden = decoder(
            input_ids=torch.zeros(batch, width, dtype=torch.long, device=meta),
            attention_mask=masks,
            position_ids=positions.to(meta),
            use_cache=True,
            **as_argument(cache),
        ).last_hidden_state
        head(hidden)
        cache.keep(torch.full((batch,), width))

    counts, attended = [count(prefill)], []
    cache.began(torch.full((batch,), context))
    for width in widths:
        counts.append(count(partial(call, width)))
        attended.append(cache.capacity)
    return counts, attended


def measure(settings: FlopsSettings, shape: ModelShape) -> FlopsMeasure:
    """Set formula and count side by side: a training step's halves, and calls of a forecast."""
    batch, seq_len, context = settings.batch_size, settings.seq_len, settings.context
    lora, rows = Lora.of(settings.rank, settings.targets), shape.alphabet_rows
    loss, trained = settings.loss, settings.train_head
    head = executed.Head.of(shape, loss, trained)
    step = executed.training_step(shape, batch, seq_len, lora=lora, head=head)
    options: dict[str, Any] = {
        "lora": lora,
        "loss": loss,
        "train_head": trained,
        "alphabet_rows": rows,
    }
    forward, backward = train_step(build_model(shape), batch, seq_len, **options)
    model, widths = build_model(shape), (1, 2)
    put_lora(model, lora)
    counts, attended = generation(model, batch, context, widths, alphabet_rows=rows)
    reading = executed.forward_call(
        shape, batch, context, head_positions=batch, head_rows=rows, lora=lora
    )
    pairs = {
        "forward": (total(step, "forward"), forward),
        "backward": (total(step, "backward_input", "backward_weight"), backward),
        "prefill": (total(reading), counts[0]),
    }
    names = ("decoding step", "jump-forward step")
    for name, width, keys, counted in zip(names, widths, attended, counts[1:], strict=True):
        formula = executed.forward_call(
            shape,
            batch,
            width,
            head_positions=batch * width,
            head_rows=rows,
            attended=keys,
            lora=lora,
        )
        pairs[name] = total(formula), counted
    measurements = [
        Measurement(name=name, analytic=formula, measured=counted, difference=counted - formula)
        for name, (formula, counted) in pairs.items()
    ]
    equal = all(measurement.difference == 0 for measurement in measurements)
    return FlopsMeasure(model=shape.name, equal=equal, measurements=measurements)


def count(work: Callable[[], object]) -> int:
    """Return FLOPs of the matrix products that a piece of work runs, on any device, meta included.

    PyTorch's counter knows the products; the attention kernels, which it counts as nothing, are
    added: 2 products forward, 5 backward in PyTorch's (the scores are computed again).
    """
    ours, aten = torch.ops.lvlora, torch.ops.aten
    kernels = {
        ours.causal_attention: _attention_forward,
        ours.causal_attention_backward: _attention_backward,
        aten._scaled_dot_product_flash_attention_for_cpu: _attention_forward,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: _fused_backward,
    }
    counter = FlopCounterMode(display=False, custom_mapping=kernels)
    with counter:
        work()
    return int(counter.get_total_flops())


def _attention_forward(query: Any, key: Any, *_: Any, **__: Any) -> int:
    return 2 * _attention_product(query, key)


def _fused_backward(gradient: Any, query: Any, key: Any, *_: Any, **__: Any) -> int:
    return 5 * _attention_product(query, key)


def _attention_backward(gradient: Any, query: Any, key: Any, *others: Any, **_: Any) -> int:
    # the weights are kept; those of the scores are differentiated for queries and keys only
    _, _, _, (q, k, v) = others  # value, weights, scale, what is differentiated
    return int(q + k + (q or k) + v) * _attention_product(query, key)


def _attention_product(query: Any, key: Any) -> int:
    # key heads may be fewer than query heads; every query head is multiplied all the same
    batch, heads, n_query, dim = query
    return int(2 * batch * heads * n_query * dim * key[2])
