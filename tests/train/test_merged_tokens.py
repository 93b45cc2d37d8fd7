"""Training models whose tokenizers merge symbols: loss and windows."""

import numpy as np
import pytest
import tiny_models
import tiny_runs
import torch

from lvlora.model.head import NumericHead
from lvlora.text.codec import Codec
from lvlora.text.scaling import of_dataset
from lvlora.text.windows import Batch, tokenize_series
from lvlora.train.loop import Objective

KINDS = list(tiny_models.MERGING)


@pytest.mark.parametrize("kind", KINDS)
def test_the_numeric_loss_is_over_all_tokens_that_numbers_are_written_with(tiny_base, kind):
    base = tiny_base(kind)
    text = "0.25,1234.50;?,-10.07;9.99,0.20;"
    ids = base.alphabet.encode(text)
    batch = Batch(np.array([[base.alphabet.start, *ids[:-1]]]), ids[None])
    head = NumericHead(base.module, base.alphabet)
    with torch.no_grad():
        result = float(Objective(base.module, base.alphabet, head).loss_sum(batch))
        logits = base.module(torch.from_numpy(batch.inputs)).logits[0].double().numpy()
    of_tokens = logits[:, list(base.alphabet.ids)]
    largest = of_tokens.max(axis=1)
    normal = np.log(np.exp(of_tokens - largest[:, None]).sum(axis=1)) + largest
    expected = sum(n - row[i] for n, row, i in zip(normal, logits, ids, strict=True))
    assert result == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_a_series_is_its_steps_tokens(tiny_base, kind):
    alphabet = tiny_base(kind).alphabet
    data = tiny_runs.dataset(1, n_steps=9)
    codec, scale = Codec(2, 2), of_dataset(data)
    series = tokenize_series(data.series[0], scale, codec, alphabet)
    steps = codec.encode_steps(scale.apply(data.series[0].values))
    assert [
        alphabet.decode(series.ids[a:b])
        for a, b in zip(series.starts[:-1], series.starts[1:], strict=True)
    ] == steps
    assert np.array_equal(series.ids, alphabet.encode("".join(steps)))
