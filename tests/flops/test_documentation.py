from pathlib import Path

import pytest

from lvlora.flops import coursework, executed
from lvlora.flops.account import Trained
from lvlora.flops.answers import total
from lvlora.flops.catalogue import find_shape
from lvlora.flops.executed import Head
from lvlora.flops.shape import Lora

TEXT = "\n".join(
    (Path(__file__).parents[2] / "docs" / name).read_text(encoding="utf-8")
    for name in ("flops.md", "flops_coursework.md")
)
QWEN = find_shape("qwen2.5-0.5b")
QV = Lora.of(8, ("q_proj", "v_proj"))


def step(loss, train_head):
    head = Head.of(QWEN, loss, train_head)
    return executed.training_step(QWEN, 4, 512, lora=QV, head=head)


@pytest.mark.parametrize(
    "items",
    [
        step("numeric", "none"),
        step("full", "none"),
        step("full", "full"),
        executed.full_fine_tuning_step(QWEN, 4, 512),
    ],
)
def test_steps_in_the_text_are_those_of_the_program(items):
    backward = total(items, "backward_input", "backward_weight")
    row = f"| {total(items, 'forward'):,} | {backward:,} | {total(items):,} |"
    assert row in TEXT


@pytest.mark.parametrize(("batch", "lora"), [(1, Lora()), (1, QV), (4, QV)])
def test_golden_numbers_in_the_text_are_those_of_the_program(batch, lora):
    forward = total(coursework.model_call(QWEN, batch, 512, lora=lora))
    assert f"| {batch} | 512 | {lora.rank} | {forward:,} | {3 * forward:,} |" in TEXT


def test_other_numbers_in_the_text():
    generation = total(coursework.model_call(QWEN, 1, 500, logit_rows=1)) + total(
        coursework.decode(QWEN, 1, 500, 500)
    )
    parameters = QWEN.parameter_count()["total"]
    for number in (
        generation,
        6 * parameters * 2048,
        parameters,
        Trained(QWEN, QV, Head(15)).n_parameters,
        Trained(QWEN, Lora.of(8, ("q_proj",)), Head(15)).n_parameters,
        Trained(QWEN, Lora(), Head.of(QWEN, "numeric", "numeric")).n_parameters,
        Trained(QWEN, Lora(), Head.of(QWEN, "numeric", "full")).n_parameters,
    ):
        assert f"{number:,}" in TEXT
    items = step("numeric", "none")
    attention = [i for i in items if i.name in ("scores", "attention_values")]
    # 5 products backward, of which forward has 2
    fused = total(items) - total(attention, "backward_input") + 5 * total(attention, "forward") // 2
    assert round(fused / total(items) * 100 - 100, 1) == 1.5
    assert round(total(step("full", "full")) / total(step("full", "none")) * 100 - 100) == 13
    assert round(total(step("full", "none")) / total(step("numeric", "none")) * 100 - 100) == 35


def test_every_item_is_explained():
    names = {i.name for i in coursework.model_call(QWEN, 1, 8)} | {
        i.name for i in step("numeric", "none") if not i.name.startswith("lora.")
    }
    assert [name for name in sorted(names) if f"`{name}`" not in TEXT] == []
