"""Models whose tokenizers merge symbols, through the real commands."""

import json
import shutil

import numpy as np
import pytest
import tiny_models
import tiny_runs

from lvlora.model.loading import alphabet_of, load_tokenizer, outline

KINDS = list(tiny_models.MERGING)
ONE_KIND = [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])]


@pytest.fixture
def lone(tmp_path):
    return tiny_runs.write_csv(tmp_path / "lone.csv", tiny_runs.dataset(1, n_steps=24))


@pytest.fixture
def many(tmp_path):
    return tiny_runs.write_csv(tmp_path / "many.csv", tiny_runs.dataset(8, n_steps=20))


@pytest.mark.parametrize("kind", KINDS)
def test_tokenize_shows_the_tokens_that_are_used(run_lvlora, lone, tiny_folder, kind):
    args = ["tokenize", lone, "--model", tiny_folder(kind), "--steps", "3"]
    got = run_lvlora([*args, "--json"]).json
    (one,) = got["series"]
    assert len(got["alphabet"]) == 15
    assert got["merged_tokens"] == {"triples": 1100, "pairs": 15, "whole": 2002}[kind]
    assert "".join(one["tokens"]) == one["text"]
    assert any(len(token) > 1 for token in one["tokens"])
    assert one["n_tokens"] == pytest.approx(one["tokens_per_step"] * 24)
    assert one["n_tokens"] < len(one["text"]) / 3 * 24
    ran = run_lvlora(args)
    assert f"Besides the 15 symbols {got['merged_tokens']:,} tokens of several" in ran.stdout
    # each step stands beside its own tokens
    begin, shown = 0, [" ".join(line.split()) for line in ran.stdout.splitlines()]
    for number, step in enumerate(one["text"].split(";")[:-1], 1):
        end = next(i for i in range(begin, 99) if one["tokens"][i].endswith(";")) + 1
        ids, tokens = one["ids"][begin:end], one["tokens"][begin:end]
        assert " ".join([str(number), f"{step};", *map(str, ids), *tokens]) in shown
        begin = end


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_spelled_from_the_left(tiny_base, tiny_folder, kind):
    base, source = tiny_base(kind), tiny_models.source(tiny_folder(kind))
    alphabet = alphabet_of(load_tokenizer(source), kind)
    assert base.shape.alphabet_rows == len(base.alphabet.tokens) == len(alphabet.tokens)
    assert outline(source, base.placement).shape == base.shape
    tokens = [alphabet.tokens[i] for i in alphabet.spell("1234.50,0.25;")]
    expected = {
        "triples": ["123", "4", ".", "50", ",", "0", ".", "25", ";"],
        "pairs": ["12", "3", "4", ".", "5", "0", ",", "0.2", "5;"],
        "whole": ["1", "2", "3", "4.50,", "0.25;"],
    }
    assert tokens == expected[kind]


def test_of_qwen2_too_the_tokenizer_is_what_its_file_says(tiny_folder):
    """transformers' AutoTokenizer splits all digits of that family."""
    loaded = load_tokenizer(tiny_models.source(tiny_folder("whole")))
    assert loaded.tokenize("0.25,10.25;") == ["0.25,", "1", "0.25;"]


@pytest.mark.parametrize("kind", ONE_KIND)
def test_forecast(run_lvlora, lone, tiny_folder, kind, tmp_path):
    args = ["forecast", lone, "--model", tiny_folder(kind), "--horizon", "4", "--samples", "3"]
    args += ["--runs", tmp_path / "runs", "--json"]
    ran = run_lvlora([*args, "--holdout", "4"], code=0)
    for variable in ran.json["series"][0]["variables"].values():
        assert np.isfinite(np.array(variable["median"], dtype=float)).all()
        assert len(variable["median"]) == 4
    most = run_lvlora([*args, "--dry-run"]).json["flops_at_most"]
    with_likelihood = ran.json["flops"]
    without = run_lvlora([*args, "--no-hindcast"]).json["flops"]
    for convention in ("executed", "coursework"):
        assert 0 < without[convention] <= most[convention]
        assert without[convention] < with_likelihood[convention]


@pytest.mark.parametrize("kind", ONE_KIND)
def test_train_evaluate_export_and_forecast(run_lvlora, many, lone, tiny_folder, kind, tmp_path):
    model, runs = tiny_folder(kind), tmp_path / "runs"
    flags = tiny_runs.flags(model, runs, max_steps=4, validate_every=2, train_head="numeric")
    run_lvlora(["train", many, *flags, "--out", runs / "one", "--json"], code=0)
    rows = {"triples": 1115, "pairs": 30, "whole": 2017}[kind]
    hidden = json.loads((model / "config.json").read_text())["hidden_size"]
    trainable = [
        run_lvlora(["flops", "--model", model, "--train-head", which, "--json"]).json
        for which in ("none", "numeric")
    ]
    lora, both = (answer["trainable_parameters"] for answer in trainable)
    assert both - lora == rows * hidden
    args = ["evaluate", many, "--adapter", runs / "one", "--out", tmp_path / "scores", "--json"]
    run_lvlora([*args, "--runs", runs, "--samples", "2", "--horizon", "3", "--no-rivals"], code=0)
    args = ["forecast", lone, "--horizon", "3", "--greedy", "--decimals", "1", "--json"]
    run_lvlora([*args, "--runs", runs, "--adapter", runs / "one"], code=0)
    out = tmp_path / "merged"
    run_lvlora(["export", runs / "one", "--runs", runs, "--merged", out], code=0)
    run_lvlora([*args, "--runs", runs, "--model", out, "--adapter", "none"], code=0)
    again = run_lvlora(["tokenize", lone, "--model", out, "--json"]).json
    assert again["merged_tokens"] == rows - 15


@pytest.mark.parametrize("kind", ONE_KIND)
def test_flops_prices_and_counts_with_the_tokens_of_the_folder(run_lvlora, tiny_folder, kind):
    args = ["flops", "--model", tiny_folder(kind), "--seq-len", "20", "--batch-size", "1", "--json"]
    priced = run_lvlora(args).json["executed"]
    measured = run_lvlora([*args, "--measure"], code=0)
    assert measured.json["equal"] is True
    rows = {"triples": 1115, "pairs": 30, "whole": 2017}[kind]
    (head,) = [i for i in priced["items"] if "head" in i["name"] and i["phase"] == "forward"]
    assert head["flops"] == 2 * 20 * rows * 32


def test_a_configuration_alone_may_say_how_many_tokens(run_lvlora, tiny_folder, tmp_path):
    config = shutil.copy(tiny_folder("whole") / "config.json", tmp_path / "config.json")
    args = ["flops", "--seq-len", "20", "--rank", "2", "--json"]
    full = run_lvlora([*args, "--model", tiny_folder("whole")]).json["executed"]
    alone = run_lvlora([*args, "--model", config]).json["executed"]
    assert alone["training_step"] < full["training_step"]
    tiny_models.edit(tmp_path / "config.json", alphabet_rows=2017)
    assert run_lvlora([*args, "--model", config]).json["executed"] == full
