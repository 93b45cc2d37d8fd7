"""A loaded model with its restricted head, as forecasts call it through PyTorch."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lvlora.forecast.sampling import Floats, Ints
from lvlora.model.head import NumericHead
from lvlora.model.loading import BaseModel
from lvlora.model.parts import cache_argument, decoder_of, sliding_window_of


class Backbone:
    """Ids to hidden states, and those to logits of the alphabet.

    Attributes:
        module: the layers: ids to hidden states.
        given: how a cache is given to it, as keywords.
        window: positions that windowed layers see; None where there are none.
        token_ids: rows of the embedding, of the alphabet's tokens in order.
    """

    def __init__(self, base: BaseModel, head: NumericHead) -> None:
        self.base, self.head = base, head
        self.module = decoder_of(base.module)
        self.given = cache_argument(self.module)
        self.window = sliding_window_of(base.module)
        self.device = base.placement.device
        self.token_ids: Ints = np.array(base.alphabet.ids, dtype=np.int64)

    def logits(self, hidden: Tensor) -> Floats:
        """(…, tokens) of hidden states (…, hidden), as float64 on the CPU.

        NaN where a hidden state is all zeros: a norm makes that of numbers whose squares overflow,
        and the logits would be those of a model that finds every digit as likely as any other.
        """
        logits: Floats = self.head(hidden).double().cpu().numpy()
        logits[~hidden.any(-1).cpu().numpy()] = np.nan
        return logits
