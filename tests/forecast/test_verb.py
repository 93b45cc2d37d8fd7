"""The verbs: what they give back, what they leave behind, and what they need."""

import json

import numpy as np
import pytest
import tiny_models
import tiny_runs

from lvlora.errors import BudgetError, ModelError, SettingsError
from lvlora.flops.ledger import Ledger
from lvlora.forecast import verb
from lvlora.forecast.plan import OutlinedModel
from lvlora.forecast.settings import ForecastSettings
from lvlora.narrator import Silent

pytestmark = pytest.mark.usefixtures("few_rivals")
DATA = tiny_runs.dataset(2, n_steps=8)


@pytest.fixture
def settings_of(tmp_path, tiny_folder):
    """Settings of a quick forecast, with changes."""

    def make(**changes):
        options = {
            "data": tmp_path / "data.csv",
            "model": str(tiny_folder("qwen2")),
            "dtype": "float32",
            "runs": tmp_path / "runs",
            "threads": 1,
            "samples": 3,
            "horizon": 2,
            "decimals": 1,
        }
        return ForecastSettings(**{**options, **changes})

    return make


def _never():
    raise AssertionError("the data were read")


def test_an_answer_is_what_the_command_prints_and_carries_its_arrays(
    settings_of, run_lvlora, tmp_path
):
    result = verb.forecast(settings_of(holdout=3), lambda: DATA, Silent())
    words = ["forecast", tiny_runs.write_csv(tmp_path / "data.csv", DATA), "--holdout", 3]
    words += ["--horizon", 2, "--samples", 3, "--decimals", 1, "--dtype", "float32", "--threads", 1]
    ran = run_lvlora(
        [*words, "--model", settings_of().model, "--runs", tmp_path / "other", "--json"], code=0
    )
    record = result.record
    answer = json.loads(record.model_dump_json())
    assert answer | {"timing": None} == ran.json | {"timing": None}
    assert [f.samples.shape for f in result] == [(3, 2, 2)] * 2
    assert [len(h) for h in result.histories] == [5, 5]
    assert record.series[1].variables["prey"].median == result.forecasts[1].median[:, 0].tolist()
    assert record.scores is not None
    errors = np.abs(
        np.stack([f.median for f in result.forecasts])
        - np.stack([f.values for f in result.truth.futures])
    )
    assert record.scores.mae == pytest.approx(errors.mean())
    with Ledger.for_runs(tmp_path / "runs") as ledger:
        (row,) = ledger.rows()
    assert row.spent.executed == record.flops.executed


@pytest.mark.parametrize("limit", ["max_flops", "budget"])
def test_a_refusal_by_the_budget_leaves_nothing_behind(settings_of, tmp_path, limit):
    settings = settings_of(**{limit: 1000}, output=tmp_path / "o.csv")
    with pytest.raises(BudgetError, match="limit 1,000"):
        verb.forecast(settings, lambda: DATA, Silent())
    assert not (tmp_path / "o.csv").exists()
    assert not (tmp_path / "runs").exists()


def test_what_does_not_go_together_is_refused_before_the_data_are_read(settings_of):
    with pytest.raises(SettingsError, match="only 1 steps are held out"):
        verb.forecast(settings_of(holdout=1), _never, Silent())


def test_a_price_needs_no_weights(settings_of, tiny_folder, tmp_path):
    """A folder with its configuration and tokenizer has the price of the whole one, and no time."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in tiny_folder("qwen2").iterdir():
        if file.suffix != ".safetensors":
            (bare / file.name).write_bytes(file.read_bytes())
    assert tiny_models.source(bare).kind == "folder"
    for more in ({}, {"holdout": 3}):
        price_bound = verb.price(settings_of(**more), lambda: DATA, Silent())
        known = verb.price(settings_of(model=str(bare), **more), lambda: DATA, Silent())
        assert known.flops_at_most == price_bound.flops_at_most
        assert known.estimate is None
        assert price_bound.estimate is not None
        assert known.n_series == price_bound.n_series == 2
    assert not (tmp_path / "runs").exists()
    with pytest.raises(ModelError, match=r"no \*\.safetensors"):
        verb.forecast(settings_of(model=str(bare)), lambda: DATA, Silent())


@pytest.mark.parametrize(
    "more", [[], ["--no-hindcast"], ["--holdout", "3"], ["--dry-run"]], ids=" ".join
)
def test_a_command_checks_plans_and_prices_once(
    run_lvlora, tmp_path, tiny_folder, monkeypatch, more
):
    data = tiny_runs.write_csv(tmp_path / "data.csv", DATA)
    words = ["--model", tiny_folder("qwen2"), "--horizon", 2, "--samples", 3, "--decimals", 1]
    calls = []
    for owner, name in ((verb, "check"), (OutlinedModel, "views"), (OutlinedModel, "price_bound")):
        function = getattr(owner, name)

        def counting(*args, name=name, function=function):
            calls.append(name)
            return function(*args)

        monkeypatch.setattr(owner, name, counting)
    run_lvlora(["forecast", data, *words, "--runs", tmp_path / "runs", *more], code=0)
    assert calls[:3] == ["check", "views", "price_bound"]
    if more == ["--dry-run"]:  # which times a few forecasts, planned by themselves
        assert calls.count("check") == 1
    elif not more:  # the hindcast is planned, too
        assert calls[3:] == ["views", "price_bound"]
    else:
        assert "price_bound" not in calls[3:]
    if more == ["--no-hindcast"]:
        assert not calls[3:]
