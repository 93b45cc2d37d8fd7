"""What a forecast takes at least: the calls that it needs, and their products and bytes.

**The calls.** A token where the grammar leaves a choice needs the logits after the token before it,
so a future needs one call after the other, as many as it has choices but the first, which reading
the history pays for. What is forced rides along, and so does a point that the decoder guessed
rightly behind a digit. All futures go together: there are as many calls as the one with most needs.
Nothing is padded, nobody attends to what comes later, in the last layer only the positions go on
from which a token is chosen, and samples of one history share its keys and values. Drafts by a
second model (fewer calls, more products) are not reckoned with, nor are layers with a window.

**Their time.** A call's products at the rate that was measured with as many rows as it has tokens,
those of attention at the best rate of all; each weight, and each cached key and value, read once at
the measured bandwidth, in the dtype of the weights. Of these two the longer counts, as if the other
were done behind it; nothing else costs anything. That is the *bound*. Beside it stand

- *in turn*: in each call the longer of products and weights, and then the longer of attention's
  products and the cache: keys and values are not fetched behind other products;
- *full rate*: the bound if few rows were multiplied at the rate of many;
- *as made*: the bound of the calls that were made, padding, whole buffers and wrong guesses
  included.

Rates are those of the libraries here (`machine`), no law of nature: another kernel for few rows may
be faster, and then the bound is too long; *full rate* is what it can't pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lvlora.forecast.pricing import PackedCall
from lvlora.text.grammar import START

if TYPE_CHECKING:
    from lvlora.flops.shape import ModelShape
    from lvlora.forecast.pricing import Call as MadeCall
    from lvlora.text.grammar import Spelling


class Call(NamedTuple):
    """One call of the model.

    Attributes:
        tokens: that go in, of all rows together.
        outputs: of which so many go through all of the last layer; logits: and through the head.
        attended: positions that each token is multiplied with, summed over the tokens.
        cached: positions whose keys and values are read from the cache.
    """

    tokens: int
    outputs: int
    logits: int
    attended: int
    cached: int


class Future(NamedTuple):
    """One series that is written.

    Attributes:
        history: which one it goes on from; read: the tokens of that.
        fed: (tokens, logits needed) of each of its calls.
    """

    history: int
    read: int
    fed: list[tuple[int, int]]


class Machine(NamedTuple):
    """What was measured.

    Attributes:
        rates: rows → FLOP/s of a layer's products; bandwidth: bytes/s.
        itemsize: bytes of a weight.
    """

    rates: Mapping[int, float]
    bandwidth: float
    itemsize: int

    def rate(self, rows: int) -> float:
        """FLOP/s with so many rows: in between of what was measured, the best beyond it.

        More rows can be multiplied in pieces, so that the rate never falls.
        """
        measured = sorted(self.rates)
        risen = np.maximum.accumulate([self.rates[n] for n in measured])
        return float(np.interp(rows, measured, risen))

    @property
    def full_rate(self) -> float:
        """With as many rows as are best."""
        return max(self.rates.values())


class Seconds(NamedTuple):
    """What a call takes, each by itself."""

    products: float
    attention: float
    weights: float
    cache: float

    @property
    def at_least(self) -> float:
        """The longer of all products and all that is read."""
        return max(self.products + self.attention, self.weights + self.cache)

    @property
    def in_turn(self) -> float:
        """Attention after the products with weights."""
        return max(self.products, self.weights) + max(self.attention, self.cache)


def fed(spelling: Spelling, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """(tokens, logits needed) of each call that a future needs after its history was read.

    Args:
        tokens: of the whole future, as indices into ``spelling.tokens``.
    """
    calls: list[tuple[int, int]] = []
    state, n, logits, guessed = START, 0, 1, False
    for place, token in enumerate(tokens):
        if place and int(spelling.forced[state]) < 0:  # a choice
            if int(spelling.guess[state]) == token and not guessed:
                logits, guessed = logits + 1, True
            else:
                calls.append((n, logits))
                n, logits, guessed = 0, 1, False
        n += 1
        state = int(spelling.transitions[state, token])
    return calls  # nothing is chosen after the rest


def needed(futures: Sequence[Future]) -> list[Call]:
    """The calls that write these futures, all together."""
    calls = []
    written = [0] * len(futures)
    for turn in range(max((len(f.fed) for f in futures), default=0)):
        going = [i for i, f in enumerate(futures) if turn < len(f.fed)]
        attended = tokens = logits = 0
        # what a history left is there once, whoever goes on from it
        cached = sum({futures[i].history: futures[i].read for i in going}.values())
        for i in going:
            n, chosen = futures[i].fed[turn]
            before = futures[i].read + written[i]
            cached += written[i]
            attended += n * before + n * (n + 1) // 2
            tokens, logits = tokens + n, logits + chosen
            written[i] += n
        calls.append(Call(tokens, logits, logits, attended, cached))
    return calls


def reading(lengths: Sequence[int]) -> Call:
    """Histories of so many tokens, each read once."""
    attended = sum(n * (n + 1) // 2 for n in lengths)
    return Call(sum(lengths), len(lengths), len(lengths), attended, 0)


def traced_call(shape: ModelShape, call: MadeCall | PackedCall, *, reads: bool) -> Call:
    """A call of a `Trace`; one that ``reads`` histories attends to itself and to no cache.

    What the native decoder's calls read of the cache is not in a trace: their memory counts as if
    it were one position.
    """
    if isinstance(call, PackedCall):
        return Call(
            call.tokens, call.wanted, call.wanted, call.pairs // shape.heads, int(not reads)
        )
    cached = 0 if reads else call.rows * call.attended
    return Call(call.tokens, call.tokens, call.head_rows, call.tokens * call.attended, cached)


def flops(shape: ModelShape, call: Call) -> tuple[int, int]:
    """(products with weights, those of attention) of a call, at 2·m·n·p each."""
    sizes = {name: n_in * n_out for name, (n_in, n_out) in shape.linear_layers().items()}
    all_of_it = sum(sizes.values())
    keys_values = sizes["k_proj"] + sizes["v_proj"]
    whole, last = shape.layers - 1, call.outputs
    weights = call.tokens * (whole * all_of_it + keys_values) + last * (all_of_it - keys_values)
    head = call.logits * shape.hidden * shape.alphabet_rows
    # the last layer's share of the positions, none of which is less than a usual one
    attended = call.attended * (whole * call.tokens + last) // max(1, call.tokens)
    return 2 * (weights + head), 4 * shape.heads * shape.head_dim * attended


def n_bytes(shape: ModelShape, call: Call, itemsize: int) -> tuple[int, int]:
    """(of weights, of cached keys and values) that a call reads."""
    layer = sum(n_in * n_out for n_in, n_out in shape.linear_layers().values())
    weights = shape.layers * layer + shape.alphabet_rows * shape.hidden
    cached = 2 * shape.layers * shape.kv_heads * shape.head_dim * call.cached
    return weights * itemsize, cached * itemsize


def seconds(shape: ModelShape, call: Call, machine: Machine, rate: float | None = None) -> Seconds:
    """What a call takes; its products at a given FLOP/s, else at what so many rows reach."""
    products, attention = flops(shape, call)
    weights, cache = n_bytes(shape, call, machine.itemsize)
    return Seconds(
        products / (machine.rate(call.tokens) if rate is None else rate),
        attention / machine.full_rate,
        weights / machine.bandwidth,
        cache / machine.bandwidth,
    )


def bound(
    shape: ModelShape, machine: Machine, task: Sequence[Call], as_made: Sequence[Call]
) -> dict[str, float]:
    """The figures of the module's first lines, in seconds.

    Args:
        task: the readings (which have no cache) and calls that are needed.
        as_made: those that were made.
    """
    costs = [seconds(shape, call, machine) for call in task]
    faster = [seconds(shape, call, machine, machine.full_rate) for call in task]
    read = [s.at_least for call, s in zip(task, costs, strict=True) if not call.cached]
    step = [s for call, s in zip(task, costs, strict=True) if call.cached]
    return {
        "bound": sum(s.at_least for s in costs),
        "reading": sum(read),
        "calls": sum(s.at_least for s in step),
        "calls_products": sum(s.products + s.attention for s in step),
        "calls_memory": sum(s.weights + s.cache for s in step),
        "in_turn": sum(s.in_turn for s in costs),
        "full_rate": sum(s.at_least for s in faster),
        "as_made": sum(seconds(shape, call, machine).at_least for call in as_made),
    }
