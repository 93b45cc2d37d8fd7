"""One trial: its plan and price, what makes it go on, and whoever watches it."""

import os

import pytest
import tiny_models
import tiny_runs

from lvlora.sweep.plan import Stage
from lvlora.sweep.space import Space
from lvlora.sweep.trial import Watch, plan_step, plan_trial
from lvlora.train.process import StopRequest
from lvlora.train.record import Observer, StepRecord


@pytest.fixture
def weightless(tmp_path_factory):
    """A folder with config.json and a tokenizer, and no weights."""
    folder = tiny_models.write(tmp_path_factory.mktemp("model") / "outlined", "qwen2")
    (folder / "model.safetensors").unlink()
    return folder


def test_the_plan_and_the_run_have_one_price(weightless, tmp_path):
    dataset = tiny_runs.dataset(n_series=24)
    for every in (None, 2, 3):
        settings = tiny_runs.settings(
            weightless, tmp_path, validation_series=2, validate_every=every
        )
        cost = plan_step(settings, dataset).cost
        for n_steps in (1, 5, 7):
            stage = Stage("search", Space({}), 1, None, 100, steps=n_steps)
            plan = plan_trial(settings, dataset, stage)
            assert plan.at_most() == cost.of_run(settings, n_steps)
            assert plan.n_steps == n_steps


def test_a_trial_is_compiled_if_its_own_steps_say_so(weightless, tmp_path):
    settings = tiny_runs.settings(weightless, tmp_path)
    dataset = tiny_runs.dataset(n_series=24)
    for n_steps, compiles in ((10, False), (499, False), (500, True)):
        stage = Stage("search", Space({}), 1, None, 100, steps=n_steps)
        plan = plan_trial(settings, dataset, stage)
        assert (plan.n_steps, plan.compiles) == (n_steps, compiles)


def test_a_worker_without_its_parent_stops(monkeypatch):
    watch = Watch(Observer(), None, 100, parent=os.getppid())
    record = StepRecord(step=1, loss=1.0)
    with StopRequest() as stop:
        watch.step(record)
        assert not stop.requested
        monkeypatch.setattr(os, "getppid", lambda: 1)
        watch.step(record)
        watch.step(record)  # once is enough
        assert stop.requested
