"""scripts/compare_peft.py: the same training by peft and transformers' Trainer gives our losses."""

import argparse
import itertools

import programs
import pytest
import tiny_runs

compare = programs.load("scripts/compare_peft.py")


@pytest.fixture
def args(tmp_path, tiny_folder):
    data = tiny_runs.write_csv(tmp_path / "waves.csv", tiny_runs.dataset(12, 20))
    words = [data, "--work", tmp_path, "--model", tiny_folder("qwen2"), "--steps", "5"]
    words += ["--batch-size", "3", "--seq-len", "48", "--learning-rate", "1e-2"]
    parser: argparse.ArgumentParser = compare.options()
    return parser.parse_args([*map(str, words), "--dtype", "float32"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # transformers' own, of its own parts
def test_peft_and_its_trainer_go_the_same_way(args, tmp_path, real_figures):
    trained = {name: compare.train(name, args) for name in ("lvlora", "peft", "lvlora-numeric")}
    ours, theirs = trained["lvlora"]["losses"], trained["peft"]["losses"]
    assert len(ours) == len(theirs) == 5
    assert theirs == pytest.approx(ours, abs=2e-5)
    steps = [abs(b - a) for a, b in itertools.pairwise(ours)]
    assert min(steps) > 1e-3, "a training that stands still would agree with anything"
    # the loss over the alphabet leaves out what the model gives to other tokens
    assert trained["lvlora-numeric"]["losses"][0] < ours[0]
    text = compare.table(trained)
    assert text.count("\n") == 4
    assert "peft + Trainer, float32" in text
    compare.draw(trained, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").stat().st_size > 1000


def test_rows_for_transformers_have_every_target_once(args):
    plan = compare.planned(args, "full")
    rows = compare.examples(plan)
    assert len(rows) == 15
    batch = plan.windows.batch(0)
    for row, inputs, targets in zip(rows, batch.inputs, batch.targets, strict=False):
        assert row["input_ids"][:-1].tolist() == inputs.tolist()
        assert row["labels"][1:].tolist() == targets.tolist()  # shifted by transformers
        known = targets >= 0
        assert row["input_ids"][1:][known].tolist() == targets[known].tolist()
