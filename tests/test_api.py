"""The package for programs: light to import, typed, whole, and the same as the commands."""

import doctest
import importlib
import inspect
import json
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import tiny_runs
import torch

import lvlora
from lvlora.evaluation import scores
from lvlora.forecast.rivals import naive_rivals
from lvlora.narrator import Silent

ROOT = Path(__file__).parents[1]
SAMPLING = lvlora.Sampling(samples=2)
HEAVY = ("torch", "transformers", "numpy", "scipy", "pydantic", "optuna", "matplotlib", "h5py")


@pytest.fixture
def forecaster(tiny_folder):
    return lvlora.open_model(str(tiny_folder("qwen2")), decimals=1)


@pytest.fixture
def chosen(tiny_folder, tmp_path):
    """The plain tiny model, charged to a ledger of the test."""
    return {"model": str(tiny_folder("qwen2")), "adapter": "none", "runs": tmp_path}


def test_importing_it_imports_nothing_heavy():
    code = (
        "import sys, lvlora; dir(lvlora); lvlora.LvloraError\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout.strip(), ran.stderr) == ("[]", "")


def test_every_public_name_is_there_and_explained():
    assert "predict" in lvlora.__all__
    for name in lvlora.__all__:
        assert inspect.getdoc(getattr(lvlora, name))
    assert "predict" in dir(lvlora)
    with pytest.raises(AttributeError, match="trian"):
        _ = lvlora.trian
    # ``import lvlora.train.run`` sets lvlora.train: a function of that name would be lost
    assert not {path.stem for path in (ROOT / "lvlora").iterdir()} & set(lvlora.__all__)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert set(lvlora.__all__) - {"__version__"} <= set(re.findall(r"`(\w+)", page))


def test_the_examples_in_docstrings_are_true():
    for name in ("lvlora.programs", "lvlora.data.frames"):
        module = importlib.import_module(name)
        scope = {n: getattr(lvlora, n) for n in lvlora.__all__}
        done = doctest.testmod(module, extraglobs=scope)
        assert done.attempted
        assert not done.failed


@pytest.mark.slow
def test_a_program_makes_the_run_that_the_command_makes(run_lvlora, tmp_path, tiny_folder):
    data = tmp_path / "data.csv"
    lvlora.write(tiny_runs.dataset(), data)
    model, runs = tiny_folder("qwen2"), tmp_path / "runs"
    words = tiny_runs.flags(model, runs)
    run_lvlora(["train", data, *words, "--out", runs / "command"], code=0)
    seen = []

    class Watch(lvlora.Observer):
        def step(self, record):
            seen.append(record.step)

    settings = tiny_runs.settings(model, runs).model_dump(exclude_defaults=True)
    before = lvlora.spent(runs)
    result = lvlora.fine_tune(
        data, observer=Watch(), narrator=Silent(), out=runs / "python", **settings
    )
    assert seen == [1, 2, 3, 4, 5, 6]
    assert tiny_runs.weights(runs / "python") == tiny_runs.weights(runs / "command")
    # each is charged, and found by name
    assert (lvlora.spent(runs) - before).executed == result.flops.executed == before.executed
    assert (runs / "latest").read_text().strip() == "python"
    assert lvlora.read_adapter("latest", runs).facts["run"] == "python"
    files = {p.name for p in (runs / "command").rglob("*")}
    assert {p.name for p in (runs / "python").rglob("*")} == files
    # what it left is settings like any other's
    run_lvlora(["train", "--config", runs / "python/config.toml", "--out", runs / "again"], code=0)
    assert tiny_runs.weights(runs / "again") == tiny_runs.weights(runs / "python")

    # what is refused leaves nothing behind, and can't be taken for a run that may go on
    there = set(runs.iterdir())
    for limits in ({"max_flops": 10}, {"budget": 10}):
        with pytest.raises(lvlora.BudgetError):
            lvlora.fine_tune(data, narrator=Silent(), **{**settings, **limits})
    assert set(runs.iterdir()) == there
    assert run_lvlora(["train", "--resume", "--runs", runs]).exit_code == 2


def test_what_is_wrong_with_settings_is_said_at_once():
    with pytest.raises(lvlora.SettingsError) as caught:
        lvlora.fine_tune("data.csv", rnk=4, lr=1, batch_size=0, max_flops="much")
    message = str(caught.value)
    assert "rnk: is not a setting; did you mean rank?" in message
    assert "lr: is not a setting; did you mean learning_rate?" in message
    assert "batch_size: should be greater than" in message
    assert "max_flops: 'much' is not a number" in message
    with pytest.raises(lvlora.SettingsError, match="resume"):
        lvlora.fine_tune("data.csv", resume="latest")
    with pytest.raises(lvlora.DataError, match=r"nowhere\.csv"):
        lvlora.fine_tune("nowhere.csv")


def test_a_training_warns_a_program(tmp_path, tiny_folder):
    chosen = tiny_runs.settings(str(tiny_folder("qwen2")), tmp_path, max_steps=1, validation=False)
    with pytest.warns(UserWarning, match="1 decimal "):
        lvlora.fine_tune(tiny_runs.dataset(), **chosen.model_dump(exclude_defaults=True))


def test_evaluation_is_the_command_s(run_lvlora, tmp_path, tiny_folder, monkeypatch):
    """The same splits, scales and draws: the same figures."""
    monkeypatch.setattr(scores, "default_rivals", naive_rivals)
    data = tiny_runs.dataset(n_series=12)
    lvlora.write(data, tmp_path / "data.csv")
    files = [tmp_path / "data.csv", "--model", tiny_folder("qwen2"), "--runs", tmp_path / "runs"]
    options = (
        "--adapter none --threads 1 --workers 1 --split validation --json "
        "--context 8 --horizon 4 --samples 3 --dtype float32"
    )
    ran = run_lvlora(["evaluate", *files, *options.split()], code=0)
    forecaster = lvlora.open_model(str(tiny_folder("qwen2")), dtype="float32")
    entries = lvlora.evaluate(data, forecaster, context=8, horizon=4, samples=3, views=4)
    assert forecaster.scale is None  # as it was
    assert {e.kind for e in entries} == {"model", "rival", "floor"}
    # what a program gets is what the command prints, but for what it took and where it is
    ours, theirs = entries.model_dump(mode="json"), ran.json
    assert list(ours) == list(theirs)
    for key in ("protocol", "scale_spread", "led_by", "variables", "clusters"):
        assert ours[key] == theirs[key], key
    for entry, mine, other in zip(entries, ours["forecasters"], theirs["forecasters"], strict=True):
        assert entry.model_dump(mode="json") == mine
        assert list(mine) == list(other)
        for key in set(mine) - {"seconds", "flops", "training_flops"}:
            assert mine[key] == other[key], key


def _frame(ids="unique_id", time="ds", values=("y",), n_series=2):
    days = pandas.date_range("2024-01-01", periods=30)
    waves = [5 + np.sin(np.arange(30) / 3 + s) for s in range(n_series)]
    return pandas.concat(
        pandas.DataFrame(
            {ids: f"s{s}", time: days, **{name: wave + v for v, name in enumerate(values)}}
        )
        for s, wave in enumerate(waves)
    )


def test_predict_is_the_command(run_lvlora, tmp_path, tiny_folder, chosen):
    """The same views, samples and corrections, and the same charge."""
    frame, model = _frame(), str(tiny_folder("qwen2"))
    frame.to_csv(tmp_path / "data.csv", index=False)
    words = ["--model", model, "--adapter", "none", "--runs", tmp_path / "command"]
    ran = run_lvlora(["forecast", tmp_path / "data.csv", "-n", "3", *words, "--json"], code=0)
    forecasts = lvlora.predict(frame, horizon=3, **{**chosen, "runs": tmp_path / "python"})
    assert isinstance(forecasts, lvlora.DatasetForecast)
    ours = json.loads(forecasts.record.model_dump_json())
    for key in ("series", "model", "horizon", "samples", "flops"):
        assert ours[key] == ran.json[key], key
    assert lvlora.spent(tmp_path / "python") == lvlora.spent(tmp_path / "command")
    assert lvlora.spent(tmp_path / "python").executed == forecasts.record.flops.executed
    # an open model draws the same without being asked to
    (first, _) = lvlora.open_model(model).predict(frame, 3)
    assert (first.samples == forecasts["s0"].samples).all()


def test_a_forecast_is_a_table_with_the_names_of_the_input(chosen):
    table = lvlora.predict(_frame(), 2, samples=3, **chosen).to_frame()
    assert list(table) == ["unique_id", "ds", "lvlora", "lvlora-lo-80", "lvlora-hi-80"]
    assert table["unique_id"].tolist() == ["s0", "s0", "s1", "s1"]
    assert str(table["ds"].iloc[0]) == "2024-01-31 00:00:00"
    frame = _frame("shop", "day", ("apples", "pears"))
    forecasts = lvlora.predict(
        frame, 2, samples=3, quantiles=[0.25, 0.75], id_column="shop", time_column="day", **chosen
    )
    table = forecasts.to_frame()
    assert list(table) == ["shop", "day", "variable", "median", "mean", "0.25", "0.75"]
    assert table["variable"].tolist() == ["apples", "pears"] * 4
    for i, forecast in enumerate(forecasts):
        part = table[4 * i : 4 * i + 4].reset_index(drop=True)
        assert forecast.to_frame((0.25, 0.75)).equals(part)
        assert (forecast.samples.shape, forecast.variables) == ((3, 2, 2), ("apples", "pears"))


@pytest.mark.parametrize("what", ["column", "Series", "list", "array", "dictionary", "path"])
def test_predict_takes_what_a_program_has(what, tmp_path, chosen):
    frame = _frame(n_series=1)
    frame.to_csv(tmp_path / "data.csv", index=False)
    (series,) = lvlora.from_frame(frame)
    data = {
        "column": frame.set_index("ds").y,
        "Series": series,
        "list": [series],
        "array": frame.y.to_numpy(),
        "dictionary": {"y": frame.y.tolist()},
        "path": tmp_path / "data.csv",
    }[what]
    (forecast,) = lvlora.predict(data, horizon=2, samples=2, **chosen)
    assert forecast.samples.shape == (2, 2, 1)
    assert forecast.variables == (("x1",) if what in ("Series", "list", "array") else ("y",))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"data": 5}, "data"),
        ({"horizon": 0}, "horizon"),
        ({"samples": 0}, "samples"),
        ({"horizn": 3}, "horizn"),
        ({"output": "x.csv"}, "output"),
        ({"id_column": "nosuch"}, "id_column"),
    ],
)
def test_predict_names_the_argument_that_is_wrong(arguments, named, tmp_path):
    with pytest.raises(lvlora.LvloraError) as caught:
        lvlora.predict(**{"data": _frame(), "runs": tmp_path} | arguments)
    assert named in caught.value.message
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([5], 2), "histories"),
        ((object(), 2), "histories"),
        (([1.0, 2.0, 3.0], 2, 50), "sampling"),
        *((([1.0, 2.0, 3.0], h), "horizon: should be a whole") for h in (0, -1, 1.5, True, None)),
        (([1.0, 2.0, 3.0], 10**9), "horizon: should be at most 100,000"),
        (([lvlora.Series("s", np.empty(0), np.empty((0, 2)))], 2), "the history is empty"),
    ],
)
def test_an_open_model_names_the_argument_that_is_wrong(arguments, message, forecaster):
    for method in (forecaster.predict, forecaster.at_most):
        with pytest.raises(lvlora.LvloraError, match=message):
            method(*arguments)


def test_forecasts_are_charged_inside_the_block(tmp_path, forecaster):
    history = tiny_runs.dataset().series[0]
    most = forecaster.at_most([history], 2, SAMPLING)
    assert lvlora.spent(tmp_path) == lvlora.Price(0, 0)
    with lvlora.charged(forecaster, most, runs=tmp_path):
        (forecast,) = forecaster.predict([history], 2, SAMPLING)
    assert forecast.samples.shape == (2, 2, 2)
    assert lvlora.spent(tmp_path) == forecaster.usage.price
    assert_not_let_in(lvlora.BudgetError, forecaster, most, runs=tmp_path, budget=1 + most.executed)


def assert_not_let_in(error, *arguments, **limits):
    with pytest.raises(error), lvlora.charged(*arguments, **limits):
        raise AssertionError("it was let in")


def test_no_block_is_passed_and_none_is_charged_twice(tmp_path, forecaster):
    histories = list(tiny_runs.dataset().series[:2])
    one = forecaster.at_most(histories[:1], 2, SAMPLING)

    def predict():
        return forecaster.predict(histories[:1], 2, SAMPLING)

    for most in (lvlora.Price(0, 0), one - lvlora.Price(1, 0), one - lvlora.Price(0, 1)):
        with (
            pytest.raises(lvlora.BudgetError, match="this may cost"),
            lvlora.charged(forecaster, most, runs=tmp_path),
        ):
            predict()
    assert lvlora.spent(tmp_path) == forecaster.usage.price == lvlora.Price(0, 0)
    for most in (0, lvlora.Price(-1, 0), lvlora.Price(1e12, 1e12)):
        assert_not_let_in(lvlora.SettingsError, forecaster, most, runs=tmp_path)
    # what is left after a forecast must pay for the next
    with lvlora.charged(forecaster, one, runs=tmp_path):
        predict()
        spent = forecaster.usage.price
        with pytest.raises(lvlora.BudgetError, match="this may cost"):
            predict()
        with pytest.raises(lvlora.BudgetError, match="this may cost"):
            lvlora.negative_log_likelihood(forecaster, histories, histories)
    assert lvlora.spent(tmp_path) == forecaster.usage.price == spent
    # a block in another would leave open who pays
    with lvlora.charged(forecaster, one, runs=tmp_path):
        assert_not_let_in(lvlora.SettingsError, forecaster, one, runs=tmp_path)
        predict()
    assert lvlora.spent(tmp_path) == forecaster.usage.price
    assert forecaster.usage.price.executed == 2 * spent.executed


def test_threads_share_what_a_block_may_spend(tmp_path, forecaster):
    history = tiny_runs.dataset().series[0]
    one = forecaster.at_most([history], 4, SAMPLING)

    def predict(_):
        try:
            return len(forecaster.predict([history], 4, SAMPLING))
        except lvlora.BudgetError:
            return 0

    with lvlora.charged(forecaster, one * 3, runs=tmp_path), ThreadPoolExecutor(4) as pool:
        done = list(pool.map(predict, range(8)))
    assert lvlora.spent(tmp_path) == forecaster.usage.price
    assert lvlora.spent(tmp_path) | one * 3 == one * 3
    assert sum(done) >= 3


def _random_state():
    return (
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        str(np.random.get_state()),
        random.getstate(),
    )


def test_training_disturbs_nobody_and_nobody_disturbs_it(tmp_path, tiny_folder):
    """Alone, or two at a time in threads: the same weights, and the program's state as it was."""
    data = tiny_runs.dataset()
    model = str(tiny_folder("qwen2"))

    def train(name, seed):
        settings = tiny_runs.settings(
            model, tmp_path, dropout=0.4, seed=seed, validation=False, max_steps=4
        )
        chosen = settings.model_dump(exclude_defaults=True)
        lvlora.fine_tune(data, out=tmp_path / name, narrator=Silent(), **chosen)
        return tiny_runs.weights(tmp_path / name)

    before_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.manual_seed(123)
    before = _random_state()
    alone = [train(f"alone{seed}", seed) for seed in (1, 2)]
    assert _random_state() == before
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(train, ("both1", "both2"), (1, 2)))
    assert together == alone
    assert len(set(alone)) == 2
    assert torch.get_rng_state().tolist() == before[1]
    torch.set_num_threads(before_threads)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("samples", 0), ("samples", 1.5), ("views", 0), ("seed", -1), ("greedy", "perhaps")),
        *(("temperature", value) for value in (0, float("nan"), -1)),
        *(("top_p", 0), ("top_p", 1.1)),
    ],
)
def test_draws_that_are_impossible_are_refused_by_name(name, value):
    with pytest.raises(lvlora.SettingsError, match=f"^{name}: "):
        lvlora.Sampling(**{name: value})


def test_arguments_that_mean_nothing_are_refused_in_a_sentence(forecaster):
    data = tiny_runs.dataset(n_series=12)
    sampling = lvlora.Sampling(samples=np.int64(2))
    with pytest.raises(lvlora.SettingsError, match="context: should be a whole number"):
        forecaster.predict([data[0]], 2, sampling, context=0)
    assert forecaster.predict([], 2, sampling) == []
    (forecast,) = forecaster.predict([data[0]], 2, sampling)
    for level in (0, 1, 1.5, float("nan")):
        with pytest.raises(lvlora.SettingsError, match="quantiles: each should be between"):
            forecast.to_frame([level])
        with pytest.raises(lvlora.SettingsError, match="quantiles: item 1"):
            lvlora.evaluate(data, forecaster, quantiles=[level])
    for name, value in {"split": "tset", "context": 0, "horizon": 0, "limit": 0}.items():
        with pytest.raises(lvlora.SettingsError, match=f"{name}: "):
            lvlora.evaluate(data, forecaster, **{name: value})
    for empty in ([], [[]], np.empty((0, 5, 2)), np.empty((2, 0, 1)), np.empty((2, 5, 0))):
        with pytest.raises(lvlora.DataError):
            lvlora.from_arrays(empty)
    for empty in ({}, {"x": []}, {"time": [], "x": []}):
        with pytest.raises(lvlora.DataError):
            lvlora.from_frame(empty)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:With 1 decimal the text loses")
def test_the_examples_of_the_page_run(tmp_path, tiny_folder, monkeypatch):
    """As they stand there, but for their size: a tiny model, few steps, few samples."""
    monkeypatch.chdir(tmp_path)
    lvlora.write(tiny_runs.dataset(n_series=12), Path("mine.csv"))
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.S | re.M)
    assert len(blocks) >= 5
    small = {
        "max_steps=200": f"max_steps=1, model={str(tiny_folder('qwen2'))!r}, validation=False, "
        "decimals=1, threads=1",
        "max_steps=100": f"max_steps=1, model={str(tiny_folder('qwen2'))!r}, seq_len=48, "
        "validation_series=1, decimals=1, threads=1",
        "samples=50": "samples=2",
        "context=50, horizon=50, limit=4": "context=8, horizon=4, limit=1, rivals=False",
    }
    names: dict[str, object] = {}
    for block in blocks:
        for large, part in small.items():
            block = block.replace(large, part)
        exec(compile(block, "docs/python.md", "exec"), names)
    files = {p.name for p in tmp_path.iterdir()}
    assert files == {"mine.csv", "runs", "forecast.png", "errors.png"}
    assert len(names["table"]) == 12 * 12 * 2


def test_a_dataset_is_looked_into_by_place_slice_and_name():
    data = tiny_runs.dataset(n_series=4)
    assert data[0] is data.series[0]
    assert data[-1] is data["s3"] is data.series[3]
    assert [s.id for s in data[1:3]] == ["s1", "s2"]
    assert data[1:3].variables == data.variables
    with pytest.raises(lvlora.DataError, match="s9: waves has no such series") as caught:
        data["s9"]
    assert "s0, s1, s2, s3" in caught.value.hint
    with pytest.raises(IndexError):
        data[4]
    assert repr(data) == "Dataset(4 series of 14 steps: prey, predator; waves)"
    assert repr(data[0]) == "Series('s0': 14 steps, 0 to 13, 2 variables)"
    assert repr(data[:0]).startswith("Dataset(0 series")


def test_notebooks_show_forecasts_and_evaluations(forecaster, chosen, monkeypatch):
    monkeypatch.setattr(scores, "default_rivals", naive_rivals)
    forecasts = lvlora.predict(_frame(), 2, samples=3, holdout=4, **chosen)
    assert forecasts.plot().axes
    assert forecasts._repr_html_().startswith("<img alt=")
    assert forecasts.record.scores.n_values == 4
    assert "zero-shot" in repr(forecaster)
    data = tiny_runs.dataset(n_series=12)
    cut = replace(data, series=(data[0].steps(0, 10),))  # a data set knows its variables' names
    (forecast,) = forecaster.predict(cut, 4, lvlora.Sampling(samples=3))
    assert repr(forecast) == "Forecast('s0': 4 steps of 2 variables, 3 samples, after 10 steps)"
    figure = forecast.plot(truth=data[0].steps(10, 14))
    texts = [text for axes in figure.axes for text in axes.texts]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    assert {"prey", "predator"} <= {text.get_text() for text in texts}
    html = forecast._repr_html_()
    assert html.startswith("<img alt=")
    assert "data:image/png;base64," in html
    with pytest.raises(lvlora.SettingsError, match="quantiles"):
        forecast.plot(levels=(0, 1))
    options = {"split": "validation", "context": 8, "horizon": 4, "samples": 2}
    evaluation = lvlora.evaluate(data, forecaster, **options)
    assert evaluation[0].name in repr(evaluation)
    assert evaluation.plot().axes
    with pytest.raises(lvlora.SettingsError, match="metric: 'rmsee' is none") as caught:
        evaluation.plot("rmsee")
    assert "rmse" in caught.value.hint
    table = evaluation._repr_html_()
    assert table.count("<tr") == len(evaluation) + 1
    assert all(entry.name in table for entry in evaluation)


def test_messages_speak_python_to_programs_and_options_to_people(
    run_lvlora, tmp_path, tiny_folder, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    lvlora.write(tiny_runs.dataset(), tmp_path / "data.csv")
    model = str(tiny_folder("qwen2"))
    chosen = tiny_runs.settings(model, tmp_path / "runs").model_dump(exclude_defaults=True)
    with pytest.raises(lvlora.BudgetError) as caught:
        lvlora.fine_tune("data.csv", **{**chosen, "max_flops": 10})
    words = f"{caught.value} {caught.value.hint}"
    assert "max_flops allows 10" in words
    assert "Leave out max_steps" in words
    assert "--" not in words
    ran = run_lvlora(
        ["train", "data.csv", *tiny_runs.flags(model, tmp_path / "runs"), "--max-flops", "10"]
    )
    assert "--max-flops allows 10" in ran.stderr
    assert "Leave out --max-steps" in ran.stderr
    with pytest.raises(lvlora.ModelError) as caught:
        lvlora.open_model(model, adapter="nosuch", runs=tmp_path)
    assert "--adapter" not in f"{caught.value} {caught.value.hint}"


def test_prices_are_the_command_s(run_lvlora):
    ran = run_lvlora(["flops", "--model", "qwen2.5-0.5b", "--rank", "4", "--json"])
    assert lvlora.count_flops("qwen2.5-0.5b", rank=4).model_dump() == ran.json
    assert lvlora.count_flops(rank=2).model == "lvlora-bundled"
    with pytest.raises(lvlora.ModelError):
        lvlora.count_flops("nosuchmodel")
