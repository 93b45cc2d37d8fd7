import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.answers import Price
from lvlora.errors import SettingsError
from lvlora.flops.account import Trained, account, vary
from lvlora.flops.catalogue import find_shape
from lvlora.flops.executed import Head
from lvlora.flops.settings import FlopsSettings
from lvlora.flops.shape import ALPHABET_ROWS, Lora
from lvlora.text.codec import SYMBOLS
from lvlora.train.settings import TrainSettings

QWEN = find_shape("qwen2.5-0.5b")


def test_the_alphabet_is_that_of_the_text():
    assert len(SYMBOLS) == ALPHABET_ROWS


def test_the_account_of_the_defaults():
    answer = account(FlopsSettings(), QWEN)
    assert "fits" not in answer.model_dump()
    assert answer.model == "qwen2.5-0.5b"
    assert answer.trainable_parameters == 540_672
    assert answer.coursework.forward == 2_259_351_757_040
    assert answer.coursework.training_step == 6_778_055_271_120
    executed = answer.executed
    assert executed.training_step == executed.forward + executed.backward
    assert executed.training_step == 3_202_486_370_304
    assert answer.full_fine_tuning.trainable_parameters == 494_032_768


@pytest.mark.parametrize("train_head", ["none", "numeric", "full"])
def test_items_add_up(train_head):
    answer = account(FlopsSettings(train_head=train_head, targets="all-linear"), QWEN)
    for convention in ("coursework", "executed"):
        part = getattr(answer, convention)
        for item in part.items:
            assert item.name
            assert item.flops > 0
        assert sum(i.flops for i in part.items) == part.training_step
        forward = [i.flops for i in part.items if i.phase == "forward"]
        assert sum(forward) == part.forward


@pytest.mark.parametrize("convention", ["executed", "coursework"])
def test_what_fits_into_a_budget(convention):
    answer = account(FlopsSettings(budget="1e17", convention=convention), QWEN)
    costs, fits = getattr(answer, convention), answer.fits
    assert fits.steps * costs.training_step <= 10**17 < (fits.steps + 1) * costs.training_step
    assert fits.tokens == fits.steps * 4 * 512
    assert fits.forecasts == 10**17 // (costs.prefill + costs.decode)
    assert account(FlopsSettings(budget=1), QWEN).fits.steps == 0


def test_nothing_generated_costs_nothing():
    answer = account(FlopsSettings(new_tokens=0), QWEN)
    assert answer.coursework.decode == answer.executed.decode == 0


def test_prices_agree_with_the_account():
    settings = FlopsSettings(context=100, new_tokens=20)
    answer = account(settings, QWEN)
    lora = Lora.of(8, ("q_proj", "v_proj"))
    trained = Trained(QWEN, lora, Head.of(QWEN, "numeric", "none"))
    step = trained.step([(4, 512)])
    assert trained.step([(4, 512), (4, 512)]) == 2 * step
    assert step.executed == answer.executed.training_step
    assert step.coursework == answer.coursework.training_step
    validation = trained.validation_batch(4, 512)
    assert validation.executed == answer.executed.forward
    assert validation.coursework == answer.coursework.forward


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("seq-len=128,512", ["128", "512"]),
        ("seq_len = 128 , 512", ["128", "512"]),
        ("train-head=none,full", ["none", "full"]),
        ("targets=q_proj+v_proj,all-linear", ["q_proj+v_proj", "all-linear"]),
        ("model=qwen2.5-0.5b,smollm2-135m", ["qwen2.5-0.5b", "smollm2-135m"]),
    ],
)
def test_other_settings_vary_too(text, values):
    rows = vary(FlopsSettings(vary=text), QWEN, find_shape).vary
    assert [row.value for row in rows] == values
    assert rows[0].executed.training_step != rows[1].executed.training_step


@pytest.mark.parametrize(
    "text", ["", "rank", "rank=", "rank=much", "rank=-1", "budget=1", "targets=q", "loss=mse"]
)
def test_nonsense_cannot_be_varied(text):
    with pytest.raises(SettingsError):
        vary(FlopsSettings(vary=text or "="), QWEN, find_shape)


def test_the_pure_part_imports_nothing_heavy():
    code = """
import sys
import lvlora.flops.account, lvlora.flops.ledger
heavy = {"torch", "transformers", "numpy", "scipy", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)


counts = st.integers(0, 10**25)
prices = st.builds(Price, counts, counts)


@given(prices, prices, st.integers(0, 10**6))
def test_prices_add_and_multiply_exactly(a, b, n):
    assert n * (a + b) == a * n + n * b
    assert sum([a, b, b]) == a + 2 * b
    assert (a + b) - b == a
    for convention in ("executed", "coursework"):
        x, y = a.of(convention), b.of(convention)
        assert (a | b).of(convention) == max(x, y)
        assert (a & b).of(convention) == min(x, y)


def test_a_price_has_two_conventions_only():
    with pytest.raises(KeyError):
        Price(1, 2).of("profiler")


@pytest.mark.parametrize(
    ("text", "flops"),
    [
        ("1e17", 10**17),
        (" 100_000 ", 100_000),
        ("2.5e15", 25 * 10**14),
        ("123456789012345678901", 123456789012345678901),
    ],
)
def test_counts_are_read_exactly(text, flops):
    assert TrainSettings(max_flops=text).max_flops == flops


@pytest.mark.parametrize(
    "text", ["", "much", "1.5", "-1e3", "0", "nan", "inf", "1e999999999", "1e-3"]
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="max_flops"):
        TrainSettings(max_flops=text)
