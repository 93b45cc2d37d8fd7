"""The plainest decoder there is, what every other one has to equal, and prompts for both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lvlora.forecast.decoding import Decoder
from lvlora.forecast.rows import Prompt
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
            if steps < horizon and prompt.given:
                out += prompt.given[steps - 1]
                written += base.alphabet.count(prompt.given[steps - 1])
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
