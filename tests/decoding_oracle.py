"""The plainest decoder there is, what every other one has to equal, and prompts for both."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lvlora.answers import Price
from lvlora.forecast.decoding import Decoder, Prompt
from lvlora.forecast.pricing import Trace
from lvlora.forecast.sampling import Draws, Sampling, choose
from lvlora.model.head import NumericHead
from lvlora.text.codec import Codec
from lvlora.text.grammar import START, Grammar, spelling


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


def equals_oracle(
    base: Any, prompts: Sequence[Prompt], horizon: int, sampling: Sampling
) -> tuple[list[list[str]], Trace]:
    """Decode prompts together, and assert that each text is the oracle's; texts and trace."""
    trace = Trace()
    futures = decoder_for(base).decode(prompts, horizon, sampling, trace=trace)
    for prompt, texts in zip(prompts, futures, strict=True):
        assert len(texts) == sampling.n_futures
        for sample, text in enumerate(texts):
            assert text == oracle(base, prompt, horizon, sampling, sample)
    return futures, trace


class Says(torch.nn.Module):
    """A head that answers with given logits (n, tokens), one row after the other."""

    def __init__(self, answers: Any) -> None:
        super().__init__()
        self.answers, self.at = np.asarray(answers), 0

    @classmethod
    def random(cls, n_tokens: int, seed: int) -> "Says":
        """Each time something else."""
        return cls(np.random.default_rng(seed).normal(0, 5, (997, n_tokens)))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits of hidden states, which are not looked at."""
        shape = hidden.shape[:-1]
        n = int(np.prod(shape))
        rows = (self.at + np.arange(n)) % len(self.answers)
        self.at += n
        return torch.from_numpy(self.answers[rows]).float().reshape(*shape, -1)


def costs_no_more(
    forecaster: Any, histories: Sequence[Any], horizon: int, sampling: Sampling
) -> tuple[Price, Price]:
    """Forecast, and assert that it cost no more than its price bound; what was spent, and bound."""
    bound, before = forecaster.at_most(histories, horizon, sampling), forecaster.usage.price
    forecaster.predict(histories, horizon, sampling)
    spent = forecaster.usage.price - before
    assert 0 < spent.executed <= bound.executed
    assert 0 < spent.coursework <= bound.coursework
    return spent, bound


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
