"""The compiled decoder in forecasts: PyTorch's choices, and what it computes is what is paid."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_runs
import torch
from decoding_oracle import decoder_for, prompts_of

from lvlora.errors import NumericalError
from lvlora.forecast import plan, pricing
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.pricing import Call, PackedCall, Trace
from lvlora.forecast.sampling import Sampling
from lvlora.model import lora
from lvlora.model.native.engine import Engine, Row, in_pages
from lvlora.text.codec import Codec

GREEDY = Sampling(greedy=True)
DRAWN = Sampling(samples=3, temperature=1.5, seed=5)
MIXED = {"rank": 3, "targets": ("q_proj", "v_proj", "o_proj", "down_proj"), "layers": (1,)}


@pytest.fixture
def opened(monkeypatch):
    """The engines that were opened, in order."""
    result, plain = [], Engine.of

    def of(model, head):
        engine = plain(model, head)
        result.append(engine)
        return engine

    monkeypatch.setattr(Engine, "of", of)
    return result


def _both(monkeypatch, work):
    """What a piece of work gives natively, and by PyTorch."""
    native = work()
    with monkeypatch.context() as only_torch:
        only_torch.setattr(Engine, "of", lambda *_: None)
        return native, work()


def _updated(base, **updates):
    lora.inject(base.module, lora.LoraPlan(**updates))
    torch.manual_seed(2)
    for _, layer in lora.lora_layers(base.module):
        layer.lora_b.data.normal_(0, 0.2)
    return base


@pytest.mark.parametrize("family", ["native qwen2", "native llama", "native whole"])
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_both_make_the_same_choices(tiny_base, monkeypatch, opened, family, sampling):
    base = _updated(tiny_base(family), **MIXED)
    prompts = prompts_of(Codec(2, 2), [1, 9, 3])

    def work():
        trace = Trace()
        return decoder_for(base).decode(prompts, 4, sampling, max_rows=4, trace=trace), trace

    (native, computed), (torch_s, by_torch) = _both(monkeypatch, work)
    assert native == torch_s
    assert computed.histories == by_torch.histories
    assert computed.futures == by_torch.futures
    assert computed.taken_back == by_torch.taken_back
    assert all(isinstance(call, PackedCall) for call in computed.calls)
    assert all(isinstance(call, Call) for call in by_torch.calls)
    assert len(computed.calls) == len(by_torch.calls)
    # what was opened is closed, its memory with it
    assert opened
    assert not any(engine.close.alive for engine in opened)


def _linears(base):
    """(layer, name, multiplications of a token) of each linear layer, its update included."""
    for name, module in base.module.named_modules():
        kind = name.rsplit(".", 1)[-1]
        if not kind.endswith("_proj"):
            continue
        size = getattr(module, "base", module).weight.numel()
        if isinstance(module, lora.LoraLinear):
            size += module.lora_a.numel() + module.lora_b.numel()
        yield lora.layer_of(name), kind, size


@pytest.mark.parametrize("updates", [None, MIXED, {"rank": 2, "targets": ("all-linear",)}])
def test_the_price_is_what_the_engine_was_given(tiny_base, monkeypatch, updates):
    base = tiny_base("native qwen2")
    base.max_positions = 96  # short ones in pieces, too
    if updates:
        _updated(base, **updates)
    inputs, plain = [], Engine.prepare

    def prepare(engine, rows, want):
        pairs = plain(engine, rows, want)
        inputs.append((sum(len(row.ids) for row in rows), len(want), *pairs))
        return pairs

    monkeypatch.setattr(Engine, "prepare", prepare)
    monkeypatch.setattr(plan, "MOST_ROWS", 4)
    forecaster = LanguageModel(base, decimals=2)
    histories = [
        *tiny_runs.dataset(n_series=2, n_steps=1),
        *tiny_runs.dataset(n_series=2, n_steps=10, seed=2),
    ]
    for sampling in (DRAWN, GREEDY):
        inputs.clear()
        before = forecaster.usage.price
        most = forecaster.at_most(histories, 6, sampling)
        forecaster.predict(histories, 6, sampling)
        spent = forecaster.usage.price - before
        products = 0
        for tokens, wanted, each, last in inputs:
            for layer, kind, size in _linears(base):
                goes_on = layer < 1 or kind in ("k_proj", "v_proj")
                products += size * (tokens if goes_on else wanted)
            products += 2 * base.shape.head_dim * (each + last)  # scores and values, two layers
            products += wanted * base.shape.hidden * len(base.alphabet.tokens)
        assert spent.executed == 2 * products > 0
        assert spent.executed <= most.executed
        assert spent.coursework <= most.coursework


@pytest.mark.parametrize("n_layers", [2, 40])
def test_no_history_costs_more_than_was_said_before(tiny_base, n_layers):
    """However short: whole pages are multiplied, in every layer."""
    base = tiny_base("native qwen2")
    engine = Engine.of(base.module, decoder_for(base).head)
    shape = replace(base.shape, layers=n_layers)
    for n in (1, 2, 5, 31, 32, 33, 70):
        pairs = engine.prepare([Row(-1, engine.segment(), [3] * n)], np.array([n - 1]))
        spent = pricing.executed_flops(shape, [], [PackedCall(n, 1, pairs.each, pairs.last)])
        assert spent <= pricing.executed_flops(shape, [], [Call(1, n, in_pages(n), 1)])


@pytest.mark.parametrize("call", [0, 3])
def test_an_interrupted_call_is_paid_for(tiny_base, monkeypatch, opened, call):
    forecaster = LanguageModel(tiny_base("native qwen2"), decimals=1)
    ran, plain = [], Engine.run

    def run(engine):
        if len(ran) == call:
            raise KeyboardInterrupt
        ran.append(engine)
        return plain(engine)

    monkeypatch.setattr(Engine, "run", run)
    with pytest.raises(KeyboardInterrupt):
        forecaster.predict(list(tiny_runs.dataset(2, n_steps=6)), 5, DRAWN)
    trace = forecaster.usage.trace
    assert len(trace.calls) == call + 1
    assert forecaster.usage.price == forecaster.price_of(trace)
    assert forecaster.usage.price.executed > 0
    assert not any(engine.close.alive for engine in opened)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("embed_tokens", float("nan"), "model.embed_tokens.weight holds values that are not"),
        ("layers.1.input_layernorm", float("inf"), "model.layers.1.input_layernorm.weight"),
        ("layers.0.mlp.down_proj", 1e30, "are not finite numbers"),
        ("layers.1.mlp.down_proj", 1e30, "are not finite numbers"),
    ],
)
@pytest.mark.parametrize("family", ["native qwen2", "native llama"])
def test_a_broken_model_is_told_as_by_pytorch(tiny_base, monkeypatch, family, name, value, message):
    base = tiny_base(family)
    with torch.no_grad():
        base.module.model.get_submodule(name).weight[:] = value

    def work():
        # many rows, none of which was fed when it went wrong
        with pytest.raises(NumericalError) as raised:
            decoder_for(base).decode(prompts_of(Codec(1, 2), [2, 4]), 3, Sampling(samples=20))
        return str(raised.value)

    native, by_torch = _both(monkeypatch, work)
    assert message in native
    assert native == by_torch
