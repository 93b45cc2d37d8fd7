"""A whole run: repeatable, resumable, within its limits, and true to its ledger."""

import json
import os
import shutil
import signal
from unittest.mock import Mock

import numpy as np
import pytest
import tiny_runs
import torch
from safetensors.torch import load_file

from lvlora.data.dataset import Dataset, Series
from lvlora.errors import BudgetError, DataError, NumericalError, RunStopped
from lvlora.flops.ledger import Ledger, Limits
from lvlora.model.loading import load
from lvlora.narrator import Silent
from lvlora.train import run_folder
from lvlora.train.record import Observer
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder


class Stopper(Observer):
    """Sends this process a signal, or an error, after a step."""

    def __init__(self, after, event=signal.SIGTERM):
        self.after, self.event = after, event

    def step(self, record):
        if record.step == self.after:
            if isinstance(self.event, BaseException):
                raise self.event
            os.kill(os.getpid(), self.event)


@pytest.fixture
def model(tiny_folder):
    return tiny_folder("qwen2")


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def _train(model, runs, name="", data=None, observer=None, **changes):
    loaded = tiny_runs.loaded(model, runs, data, **changes)
    folder = tiny_runs.folder(runs, name)
    return folder.path, Run(loaded, folder, observer or Observer()).train()


class Listener(Silent):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def _resume(model, runs, path, data=None, narrator=None, limit=None, **changes):
    loaded = tiny_runs.loaded(model, runs, data, **changes)
    limits = Limits(limit) if limit else None
    folder = RunFolder(path)
    return Run(loaded, folder, Observer(), narrator, resume=True, limits=limits).train()


def _broken_off(model, runs, name, after, event=signal.SIGTERM, **changes):
    """The folder of a run that ends after some steps, by a signal or as by a kill."""
    error = RunStopped if isinstance(event, int) else type(event)
    with pytest.raises(error) as raised:
        _train(model, runs, name, observer=Stopper(after, event), **changes)
    return RunFolder(runs / name), raised.value


def _ledger(runs):
    with Ledger.for_runs(runs) as ledger:
        return ledger.rows()


@pytest.mark.parametrize(
    ("family", "changes"),
    [
        ("qwen2", {"accumulation": 2}),
        # a tokenizer that merges digits: two numbers a step, one token each
        pytest.param("whole", {"decimals": 2}, marks=pytest.mark.slow),
        pytest.param("whole", {"decimals": 2, "train_head": "numeric"}, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_end(tiny_folder, runs, family, changes):
    before = signal.getsignal(signal.SIGTERM)
    model, changes = tiny_folder(family), {"dropout": 0.1, **changes}
    reference, expected = _train(model, runs, "whole", **changes)
    assert 0 < expected.flops.executed <= expected.flops_at_most.executed
    assert 0 < expected.flops.coursework <= expected.flops_at_most.coursework
    folder, stopped = _broken_off(model, runs, "stopped", 3, **changes)
    assert "after step 3 of 6; everything is saved" in stopped.message
    assert folder.resume_command in stopped.hint
    assert signal.getsignal(signal.SIGTERM) == before
    result = _resume(model, runs, folder.path, **changes)
    for which in ("adapter", "adapter-last"):
        assert tiny_runs.weights(reference, which) == tiny_runs.weights(folder.path, which)
    assert tiny_runs.steps_of(folder.path) == [1, 2, 3, 4, 5, 6]
    assert result.flops == expected.flops
    assert result.best_step == expected.best_step
    assert result.gain == expected.gain
    # nothing was done twice, so nothing was charged twice
    rows = [r for r in _ledger(runs) if r.run == "stopped"]
    assert sum(r.spent.executed for r in rows) == expected.flops.executed


def test_a_second_signal_stops_at_once_and_the_step_is_paid_for(model, runs, monkeypatch):
    loaded = tiny_runs.loaded(model, runs, validation=False, save_every=0)
    loss_sum = loaded.objective.loss_sum
    calls = []

    def twice(batch):
        calls.append(batch)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return loss_sum(batch)

    monkeypatch.setattr(loaded.objective, "loss_sum", twice)
    folder = tiny_runs.folder(runs, "r")
    with pytest.raises(KeyboardInterrupt):
        Run(loaded, folder, Observer()).train()
    assert tiny_runs.steps_of(folder.path) == [1, 2]
    (row,) = _ledger(runs)
    assert row.status == "settled"
    assert row.spent == 3 * loaded.plan.cost.per_step


@pytest.mark.parametrize(
    ("save_every", "note", "n_steps_made"),
    [
        (4, "Going on after step 4 of 6.", 7),
        pytest.param(0, "no checkpoint yet; starting from step 0", 11, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_long_after_its_checkpoint_repeats_the_steps_to_the_same_end(
    model, runs, save_every, note, n_steps_made
):
    reference, _ = _train(model, runs, "whole", dropout=0.1)
    # as good as a kill: nothing is saved
    changes = {"dropout": 0.1, "save_every": save_every}
    folder, _ = _broken_off(model, runs, "killed", 5, ZeroDivisionError(), **changes)
    listener = Listener()
    with (folder.path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 6, "lo')
    _resume(model, runs, folder.path, narrator=listener, dropout=0.1)
    assert [n.endswith(note) for n in listener.notes] == [True]
    for which in ("adapter", "adapter-last"):
        assert tiny_runs.weights(reference, which) == tiny_runs.weights(folder.path, which)
    assert tiny_runs.steps_of(folder.path) == [1, 2, 3, 4, 5, 6]
    spent = sum(r.spent.executed for r in _ledger(runs) if r.run == "killed" and r.phase == "train")
    assert spent == n_steps_made * tiny_runs.plan(model, runs).cost.per_step.executed


def test_what_changed_is_named_and_nothing_is_touched(model, runs, tiny_folder, tmp_path):
    folder, _ = _broken_off(model, runs, "r", 2)
    before = {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    other = tmp_path / "qwen2"
    shutil.copytree(model, other)
    tensors = load_file(other / "model.safetensors")
    tensors["model.norm.weight"] += 0.5
    from safetensors.torch import save_file

    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    cases = [
        (model, tiny_runs.dataset(seed=1), {}, "data"),
        (other, None, {}, "base weights"),
        (model, None, {"rank": 3}, r"rank \(2 then, 3 now\)"),
        (model, None, {"learning_rate": 0.5, "seed": 3}, "learning_rate .*, seed"),
        (model, None, {"max_steps": 8}, "schedule.*max_steps"),
        (model, None, {"split_seed": 5}, "split"),
        (model, None, {"dtype": "bfloat16"}, "device and dtype"),
    ]
    for base, data, changes, named in cases:
        with pytest.raises(DataError, match=f"changed since: .*{named}"):
            _resume(base, runs, folder.path, data, **changes)
    assert before == {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}
    # where it is written and how many threads there are decides nothing
    assert _resume(model, runs, folder.path, save_every=1).steps == 6


@pytest.mark.parametrize(
    ("convention", "validation"), [("executed", False), ("executed", True), ("coursework", True)]
)
def test_a_limit_alone_buys_as_many_steps_as_fit(model, runs, convention, validation):
    unit = tiny_runs.loaded(model, runs, validation=validation)
    price = 4 * unit.plan.cost.per_step.of(convention) + 5 * unit.plan.cost.per_validation.of(
        convention
    )
    limit = price + unit.plan.cost.per_step.of(convention) // 2
    _, result = _train(
        model,
        runs,
        max_steps=None,
        max_flops=limit,
        convention=convention,
        validation=validation,
        validate_every=None,
    )
    spent = sum(r.charged.of(convention) for r in _ledger(runs))
    assert spent == getattr(result.flops, convention) <= limit
    assert result.steps == 4
    assert not result.stopped_by_limit
    if not validation:
        assert spent + unit.plan.cost.per_step.of(convention) > limit
    assert {r.status for r in _ledger(runs)} == {"settled"}


def test_steps_repeated_after_a_kill_never_pass_the_limit(model, runs):
    step, killed = tiny_runs.plan(model, runs).cost.per_step.executed, ZeroDivisionError()
    limit = 7 * step
    changes = {"validation": False, "max_flops": limit}
    folder, _ = _broken_off(model, runs, "r", 5, killed, **changes)
    result = _resume(model, runs, folder.path, **changes)  # 5 of 7 are spent, from 4 on
    assert result.steps == 6
    assert not result.stopped_by_limit
    assert sum(r.charged.executed for r in _ledger(runs)) == limit

    changes = {"validation": False, "max_flops": 6 * step}
    _broken_off(model, runs, "s", 5, killed, save_every=4, **changes)
    result = _resume(model, runs, runs / "s", **changes)
    assert result.steps == 5
    assert result.stopped_by_limit
    with pytest.raises(BudgetError, match="the next step may cost"):
        _resume(model, runs, runs / "s", **changes)
    result = _resume(model, runs, runs / "s", limit=limit, **changes)
    assert (result.steps, result.stopped_by_limit) == (6, False)
    reference, _ = _train(model, runs, "whole", validation=False)
    # the limit is not part of a run's result: the schedule is that of the first one
    assert tiny_runs.weights(reference) == tiny_runs.weights(runs / "s")


def test_the_ledger_tells_training_and_validation_apart(model, runs):
    path, result = _train(model, runs)
    assert result.steps == result.planned_steps == 6
    train, validation = _ledger(runs)
    assert (train.phase, validation.phase) == ("train", "validation")
    rows = tiny_runs.metrics(path)
    steps = [r for r in rows if "step" in r]
    validations = [r["validation"] for r in rows if "validation" in r]
    assert [v["step"] for v in validations] == [0, 3, 6]
    assert train.spent.executed == sum(r["flops"] for r in steps)
    assert train.spent.coursework == sum(r["flops_coursework"] for r in steps)
    assert validation.spent.executed == sum(r["flops"] for r in validations)
    assert train.spent.executed + validation.spent.executed == result.flops.executed
    assert rows[-1]["total_flops"] == result.flops.executed
    assert train.tokens_useful == sum(r["tokens"] for r in steps)
    assert train.tokens_useful + train.tokens_padded == 6 * 2 * 48
    assert validation.tokens_useful > 0
    assert train.seconds > 0 < validation.seconds


def test_two_runs_of_one_second_have_folders_of_their_own(runs, monkeypatch):
    clock = Mock(**{"now.return_value.strftime.return_value": "20260301T000000Z"})
    monkeypatch.setattr(run_folder, "datetime", clock)
    output = [tiny_runs.folder(runs).path for _ in range(3)]
    assert len(set(output)) == 3
    assert all(path.is_dir() for path in output)


def test_patience_ends_a_run_that_gets_worse_and_keeps_the_best(model, runs):
    changes = {
        **{"learning_rate": 1.0, "clip_norm": 0.0, "schedule": "constant"},
        **{"validate_every": 1, "max_steps": 40, "patience": 2},
    }
    path, result = _train(model, runs, **changes)
    assert result.stopped_early
    assert result.best_step + 2 == result.steps < 40
    assert tiny_runs.weights(path) != tiny_runs.weights(path, "adapter-last")
    facts = json.loads((path / "adapter/lvlora.json").read_text())
    assert facts["step"] == result.best_step
    # a finished run stays as it is
    weights, rows = tiny_runs.weights(path), len(_ledger(runs))
    assert _resume(model, runs, path, **changes).model_dump() == result.model_dump()
    assert (tiny_runs.weights(path), len(_ledger(runs))) == (weights, rows)


def test_a_loss_that_is_not_finite_ends_the_run_with_the_state_before_it(model, runs, monkeypatch):
    loaded = tiny_runs.loaded(model, runs, save_every=0, validation=False)
    loss_sum = loaded.objective.loss_sum
    calls = []

    def failing(batch):
        calls.append(batch)
        return loss_sum(batch) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(loaded.objective, "loss_sum", failing)
    folder = tiny_runs.folder(runs, "r")
    with pytest.raises(NumericalError, match="the loss is nan"):
        Run(loaded, folder, Observer()).train()
    (row,) = _ledger(runs)
    assert row.spent == 4 * loaded.plan.cost.per_step  # the step was computed
    reference, _ = _train(model, runs, "whole", validation=False)
    monkeypatch.undo()
    _resume(model, runs, folder.path, validation=False)  # the cause is gone
    assert tiny_runs.weights(reference) == tiny_runs.weights(folder.path)


@pytest.mark.parametrize(
    ("dtype", "head"),
    [("float32", "none"), ("float32", "full"), ("bfloat16", "numeric"), ("bfloat16", "full")],
)
def test_the_base_is_bitwise_what_it_was(model, runs, dtype, head):
    loaded = tiny_runs.loaded(
        model, runs, dtype=dtype, train_head=head, targets=("all-linear",), validation=False
    )
    fresh = load(loaded.plan.source, loaded.base.placement).module.state_dict()
    Run(loaded, tiny_runs.folder(runs), Observer()).train()
    now = loaded.base.module.state_dict()
    for name, before in fresh.items():
        *place, last = name.split(".")
        wrapped = ".".join([*place, "base", last])
        if name == "lm_head.weight" and head == "full":
            assert not torch.equal(now[name].to(before.dtype), before)
            continue
        after = now.get(wrapped, now.get(name))
        assert after.dtype == before.dtype
        assert torch.equal(after, before), name


@pytest.mark.filterwarnings("ignore")  # of peft
def test_a_full_head_is_part_of_the_adapter(model, runs):
    loaded = tiny_runs.loaded(model, runs, train_head="full")
    folder = tiny_runs.folder(runs)
    Run(loaded, folder, Observer()).train()
    config = json.loads((folder.adapter / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["lm_head"]
    from peft import PeftModel

    base = load(loaded.plan.source, loaded.base.placement, through_transformers=True).module
    peft = PeftModel.from_pretrained(base, str(folder.last_adapter)).eval()
    ids = torch.tensor([list(loaded.base.alphabet.ids[:10])])
    loaded.base.module.eval()
    with torch.no_grad():
        torch.testing.assert_close(peft(ids).logits, loaded.base.module(ids).logits)


def _with_gaps():
    data = tiny_runs.dataset()
    rng = np.random.default_rng(0)
    series = [
        Series(s.id, s.time, np.where(rng.random(s.values.shape) < 0.3, np.nan, s.values))
        for s in data
    ]
    # whatever part it falls into: one without a value in its second half, one without any
    values = series[3].values.copy()
    values[7:] = np.nan
    series[3] = Series("s3", series[3].time, values)
    series[4] = Series("s4", series[4].time, np.full_like(values, np.nan))
    return Dataset(tuple(series), data.variables, "gaps")


def _zeros():
    data = tiny_runs.dataset()
    return Dataset(tuple(Series(s.id, s.time, 0 * s.values) for s in data), data.variables, "zeros")


@pytest.mark.parametrize(
    ("data", "validates"),
    [
        (tiny_runs.dataset(1, n_steps=7), False),
        (tiny_runs.dataset(n_variables=1), True),
        (tiny_runs.dataset(n_variables=3), True),
        (tiny_runs.dataset(n_steps=3), True),
        (_with_gaps(), True),
        (_zeros(), True),
    ],
    ids=["one short", "one variable", "three variables", "short", "gaps", "zeros"],
)
def test_every_kind_of_data_can_be_trained_on(model, runs, data, validates):
    path, result = _train(model, runs, data=data)
    assert result.steps == 6
    assert (result.validation is not None) == validates
    assert all(np.isfinite(r["loss"]) for r in tiny_runs.metrics(path) if "step" in r)
    for row in tiny_runs.metrics(path):
        for value in row.get("validation", {}).values():
            assert value is None or np.isfinite(value)
    spent = sum(r.spent.executed for r in _ledger(runs))
    assert spent == result.flops.executed
    assert all(r.spent.executed <= r.reserved.executed for r in _ledger(runs))
    assert all(r.spent.coursework <= r.reserved.coursework for r in _ledger(runs))
