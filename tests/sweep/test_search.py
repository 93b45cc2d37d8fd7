"""A search as a program asks for one: the answer, limits, and what is refused."""

import pytest
import tiny_models
import tiny_runs

import lvlora
from lvlora.narrator import Silent
from lvlora.sweep.plan import Stage
from lvlora.sweep.search import plan_step, plan_trial
from lvlora.sweep.space import Space

SPACE = {"rank": [2, 3], "learning_rate": [1e-2]}


class Listener(Silent):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message) -> None:
        self.notes.append(message)


@pytest.fixture
def small(tmp_path, tiny_folder, monkeypatch):
    """Settings of a search of two trials of two steps in ``tmp_path``, without pictures."""
    monkeypatch.setattr("lvlora.train.document.draw_run", lambda folder: [])
    monkeypatch.setattr("lvlora.sweep.search.write_page", lambda *args: [tmp_path])
    reference = tiny_runs.settings(tiny_folder("qwen2"), tmp_path / "runs", validation_series=1)
    inputs = reference.model_dump(exclude_defaults=True)
    del inputs["rank"], inputs["learning_rate"]
    return {**inputs, "max_steps": 2, "validate_every": 2}


def test_a_program_searches_data_of_its_own(small, tmp_path, run_lvlora):
    listener = Listener()
    data = tiny_runs.dataset(n_series=24)
    result = lvlora.search(data, space=SPACE, narrator=listener, **small)
    assert listener.notes[0].startswith("2 trials, at most ")
    trials = [note[:7] for note in listener.notes[1:]]
    assert trials == ["Trial 0", "Trial 0", "Trial 1", "Trial 1"]
    assert result.finished
    assert result.stopped_by is None
    assert [trial.params["rank"] for trial in result.table] == [2, 3]
    assert result.best.mae == min(trial.mae for trial in result.table)
    assert result.command is None  # no command can name data that are in no file
    assert lvlora.read_adapter(result.best.folder).config["r"] == result.best.params["rank"]
    assert lvlora.spent(tmp_path / "runs").executed == result.flops.executed

    again = lvlora.search(data, space=SPACE, narrator=(listener := Listener()), **small)
    assert again == result
    assert len(listener.notes) == 1
    ran = run_lvlora(["sweep", "--status", "--runs", tmp_path / "runs", "--json"])
    assert ran.json["table"] == result.model_dump(mode="json")["table"]


@pytest.fixture
def weightless(tmp_path_factory):
    """A folder with config.json and a tokenizer, and no weights."""
    folder = tiny_models.write(tmp_path_factory.mktemp("model") / "outlined", "qwen2")
    (folder / "model.safetensors").unlink()
    return folder


def test_the_first_trial_opens_the_weights(small, tmp_path, weightless):
    inputs = {**small, "model": str(weightless), "space": {"rank": [2, 3], "layers": ["0", "0-1"]}}
    data, listener = tiny_runs.dataset(n_series=24), Listener()
    with pytest.raises(lvlora.ModelError, match=r"no \*\.safetensors"):
        lvlora.search(data, narrator=listener, **inputs)
    assert [note[:7] for note in listener.notes[1:]] == ["Trial 0"]


def test_a_dry_run_without_weights_tells_the_plan(small, tmp_path, weightless, run_lvlora):
    tiny_runs.write_csv(tmp_path / "d.csv", tiny_runs.dataset(n_series=24))
    flags = tiny_runs.flags(weightless, tmp_path / "runs", validation_series=1)
    flags = [
        word
        for pair in zip(flags[::2], flags[1::2], strict=True)
        for word in pair
        if pair[0] not in ("--rank", "--learning-rate")
    ]
    ran = run_lvlora(["sweep", tmp_path / "d.csv", *flags, "--dry-run", "--json"], code=0)
    assert ran.json["estimate"] is None
    assert ran.json["plan"]["trials"] == 6
    assert "time and memory were not measured" in ran.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("limit", [{"max_flops": 1000}, {"budget": 1000}])
def test_a_plan_that_does_not_fit_leaves_nothing(small, tmp_path, limit):
    with pytest.raises(lvlora.BudgetError) as caught:
        lvlora.search(tiny_runs.dataset(n_series=24), space=SPACE, **small, **limit)
    assert "the sweep may cost" in str(caught.value)
    assert "Leave out max_steps" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"space": {"rnak": [2]}}, "rnak: cannot be searched; did you mean rank?"),
        ({"rank": 3}, "rank: is searched"),
        ({"preset": "quick"}, "preset and space both say"),
        ({"validation": False}, "validation=False: a sweep compares"),
        ({"study": "a/b"}, "is no name for a study"),
    ],
)
def test_what_cannot_be_is_refused_in_python_s_words(small, tmp_path, wrong, sentence):
    inputs = {"space": SPACE, **small, **wrong}
    with pytest.raises(lvlora.SettingsError) as caught:
        lvlora.search(tiny_runs.dataset(n_series=24), **inputs)
    assert sentence in str(caught.value)
    assert "--" not in f"{caught.value} {caught.value.hint}"
    assert not (tmp_path / "runs").exists()


def test_the_plan_and_the_run_have_one_price(weightless, tmp_path):
    dataset = tiny_runs.dataset(n_series=24)
    for every in (None, 2, 3):
        settings = tiny_runs.settings(
            weightless, tmp_path, validation_series=2, validate_every=every
        )
        cost = plan_step(settings, dataset).cost
        for n_steps in (1, 5, 7, 499, 500):
            stage = Stage(stage="search", space=Space({}), trials=1, trial_steps=n_steps)
            plan = plan_trial(settings, dataset, stage, None)
            assert plan.at_most() == cost.of_run(settings, n_steps)
            assert (plan.n_steps, plan.compiles) == (n_steps, n_steps >= 500)
