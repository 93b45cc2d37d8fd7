"""The executed price of a step is what PyTorch's counter finds in the real step."""

from pathlib import Path

import pytest
import tiny_runs
from torch.nn.attention import SDPBackend, sdpa_kernel

from lvlora.train.measurement import count


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        pytest.param("qwen2", {}, marks=pytest.mark.slow),
        pytest.param("qwen2", {"loss": "full", "accumulation": 2}, marks=pytest.mark.slow),
        ("qwen2", {"train_head": "numeric", "targets": ("all-linear",)}),
        ("llama", {"train_head": "full", "rslora": True}),
        pytest.param(
            "llama", {"layers": "1", "targets": ("k_proj", "up_proj")}, marks=pytest.mark.slow
        ),
        pytest.param("qwen3", {"targets": ("o_proj",), "dropout": 0.1}, marks=pytest.mark.slow),
        pytest.param("gemma2", {}, marks=pytest.mark.slow),
    ],
)
def test_a_step_and_a_validation_cost_what_is_counted(tiny_folder, tmp_path, family, changes):
    p = tiny_runs.loaded(tiny_folder(family), tmp_path, **changes)
    steps, done = p.steps(0, 1), []
    # the definition of attention is priced, not what a fused kernel computes twice
    with sdpa_kernel(SDPBackend.MATH):
        counted = count(lambda: done.append(next(steps)))
    assert p.plan.trained.n_parameters == sum(q.numel() for q in p.parameters.values())
    assert p.plan.trained.step(done[0].shapes).executed == counted
    assert counted <= p.plan.cost.per_step.executed
    scorings = []
    counted = count(lambda: scorings.append(p.validate()))
    price = scorings[0].spending.price
    assert counted == price.executed <= p.plan.cost.per_validation.executed
    assert price.coursework <= p.plan.cost.per_validation.coursework


def test_every_series_is_validated_once(tiny_folder, tmp_path):
    """Six series in batches of four: the last batch has two rows."""
    data = tiny_runs.dataset(40, n_steps=6)
    p = tiny_runs.loaded(tiny_folder("qwen2"), Path(tmp_path), data, batch_size=4)
    assert len(p.plan.split.validation) == 6
    assert [len(b.inputs) for b in p.plan.part.batches] == [4, 2]
    rows = {bytes(row) for b in p.plan.part.batches for row in b.inputs}
    assert len(rows) == 6
