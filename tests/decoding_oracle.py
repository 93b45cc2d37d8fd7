"""The plainest decoder there is, what every other one has to equal, and prompts for both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lvlora.forecast.decoding import Decoder, Prompt
from lvlora.forecast.sampling import Draws, Sampling, choose
from lvlora.model.head import NumericHead
from lvlora.text.codec import Codec
from lvlora.text.grammar import START, Grammar
from lvlora.text.spelling import spelling


def oracle(base: Any, prompt: Prompt, horizon: int, sampling: Sampling, sample: int = 0) -> str:
    """One series alone, its whole text anew for every token, no cache, the model's own head."""
    text, out, state, steps, written = prompt.text, "", START, 0, 0
    ways = spelling(prompt.grammar, base.alphabet.tokens)
    draws = Draws(sampling, [(prompt.series, sample)])
    start = [] if base.alphabet.start is None else [base.alphabet.start]
    while steps < horizon:
        ids = torch.tensor([start + base.alphabet.encode(text + out).tolist()])
        with torch.no_grad():
            logits = base.module(ids).logits[0, -1, list(base.alphabet.ids)].double().numpy()
        draw = draws.at([0], np.array([written]))
        token = int(choose(logits[None], ways.legal[[state]], sampling, draw)[0])
        out += ways.tokens[token]
        written += 1
        if ways.ends_step[state, token]:
            steps += 1
            if steps < horizon and prompt.beginnings:
                out += prompt.beginnings[steps - 1]
                written += base.alphabet.count(prompt.beginnings[steps - 1])
        state = int(ways.transitions[state, token])
    return out


def prompts_of(codec: Codec, lengths: Sequence[int], seed: int = 0, **options: Any) -> list[Prompt]:
    """Histories of given lengths: random values, now and then with two integer digits."""
    rng = np.random.default_rng(seed)
    prompts = []
    for i, n in enumerate(lengths):
        values = rng.gamma(2.0, 3.0, (n, codec.n_variables))
        if options.get("signed"):
            values *= rng.choice([-1, 1], values.shape)
        text = codec.encode(values)
        prompts.append(Prompt(f"series {i}", text, Grammar(codec, **options)))
    return prompts


def decoder_for(base: Any) -> Decoder:
    """With the model's own head."""
    return Decoder(base, NumericHead(base.module, base.alphabet))


def nll_by_hand(forecaster: Any, history: Any, future: Any) -> Any:
    """-log density of each value (H, V), token by token with the whole model, no batch."""
    base = forecaster.base
    ((reading,),) = forecaster.readings([history], len(future))
    ways = spelling(reading.grammar, base.alphabet.tokens)
    text, numbers = reading.codec.encode(reading.numbers), reading.own_scale.apply(future.values)
    nll = np.zeros(numbers.shape)
    for step, known in enumerate(reading.known_texts()):
        text, state = text + known, START
        for v, number in enumerate(numbers[step].tolist()):
            end = ";" if v == numbers.shape[1] - 1 else ","
            for token in base.alphabet.spell(reading.codec.number(number) + end):
                ids = torch.tensor([[base.alphabet.start, *base.alphabet.encode(text)]])
                with torch.no_grad():
                    logits = base.module(ids).logits[0, -1, list(base.alphabet.ids)].double()
                weights = np.where(ways.legal[state], np.exp(logits.numpy()), 0)
                nll[step, v] -= np.log(weights[token] / weights.sum())
                text += base.alphabet.tokens[token]
                state = int(ways.transitions[state, token])
            nll[step, v] += np.log(10.0**-reading.codec.decimals * reading.own_scale.divisors[v])
    return nll
