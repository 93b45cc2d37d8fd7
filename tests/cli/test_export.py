"""`lvlora export`: the folders that it writes are read by others, with the same logits."""

import json
import os
import signal
import warnings
from pathlib import Path

import pytest
import tiny_models
import tiny_runs
import torch
from forked import Forked
from safetensors import safe_open

from lvlora import durable
from lvlora.cli.program.root import load as load_command
from lvlora.data.files import write_dataset
from lvlora.model import adapters, export, lora
from lvlora.model.adapters import config_for
from lvlora.model.head import NumericHead, head_of, is_tied, untie_head
from lvlora.model.lora import LoraPlan

pytestmark = pytest.mark.filterwarnings(  # peft of transformers, transformers of us
    "ignore:.*is_gradient_checkpointing:FutureWarning",
    "ignore:Model has `tie_word_embeddings=True`:UserWarning",
)

IDS = torch.randint(0, 15, (1, 40), generator=torch.Generator().manual_seed(0))


def close(a, b, tolerance=1e-4):
    return (a - b).abs().max() < tolerance * b.abs().max()


@pytest.fixture
def make_adapter(tiny_folder, tmp_path):
    """``make_adapter("qwen2", head="full")``: its run, the logits of both."""

    def make(family="qwen2", head="none", plan=LoraPlan(), name="run"):  # noqa: B008
        base = tiny_models.load_tiny(tiny_folder(family))
        generator = torch.Generator().manual_seed(1)
        lora.inject(base.module, plan)
        rows = None
        with torch.no_grad():
            for layer_name, parameter in base.module.named_parameters():
                if "lora_" in layer_name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
            if head == "full":
                untie_head(base.module)
                weight = head_of(base.module).weight
                weight += 0.3 * torch.randn(weight.shape, generator=generator)
            if head == "numeric":
                rows = NumericHead(base.module, base.alphabet, trainable=True)
                rows.weight += 0.3 * torch.randn(rows.weight.shape, generator=generator)
        run = tmp_path / "runs" / name
        facts = {
            "model": str(tiny_folder(family)),
            "model_kind": "folder",
            "data": str(tmp_path / "x"),
            "base_sha256": base.sha256,
            "decimals": 2,
            "scale": {"divisors": [0.5, 0.5], "rule": "dataset"},
        }
        adapters.save(
            run / "adapter",
            config_for(plan, base.name, head == "full"),
            adapters.adapter_tensors(base.module, rows, head == "full"),
            facts,
        )
        (tmp_path / "runs" / "latest").write_text(name + "\n")
        return run, export.logits(base.module, IDS, rows)

    return make


@pytest.fixture
def plain():
    """The logits of a folder as transformers alone gives them."""

    def read(folder, dtype=torch.float32):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        return model, export.logits(model, IDS)

    return read


@pytest.mark.parametrize(
    ("family", "head"),
    [
        *((family, "none") for family in tiny_models.FAMILIES),
        *(("qwen2", "numeric"), ("llama", "full"), ("gemma", "full"), ("gemma2", "numeric")),
    ],
)
def test_a_merged_folder_is_a_plain_model(
    run_lvlora, make_adapter, plain, tiny_folder, tmp_path, family, head
):
    gguf = pytest.importorskip("gguf")
    from transformers import AutoTokenizer

    run, expected = make_adapter(family, head)
    base, untrained = plain(tiny_folder(family))
    assert not close(untrained, expected, 0.1)
    folder = tmp_path / "merged"
    ran = run_lvlora(["export", run, "--merged", folder, "--json"], code=0)
    model, logits = plain(folder)
    assert close(logits, expected)

    tied = is_tied(base) and head == "none"
    assert is_tied(model) == model.config.tie_word_embeddings == tied
    config = json.loads((folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is tied
    assert config["dtype"] == "float32"
    assert "lvlora" not in json.dumps(config), "the program's own attention is not for others"
    if family not in ("gemma3",):  # it has two
        assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    ids = AutoTokenizer.from_pretrained(folder).encode("1.23,-0.5;", add_special_tokens=False)
    assert ids == AutoTokenizer.from_pretrained(tiny_folder(family)).encode(
        "1.23,-0.5;", add_special_tokens=False
    )

    # llama.cpp's converter looks names up in this very table, and facts in the configuration
    names = gguf.get_tensor_name_map(
        getattr(gguf.MODEL_ARCH, family.upper()), config["num_hidden_layers"]
    )
    with safe_open(folder / "model.safetensors", "pt") as file:
        keys = list(file.keys())
    lost = [key for key in keys if names.get_name(key, try_suffixes=(".weight", ".bias")) is None]
    assert lost == (["lm_head.weight"] if "llama.cpp knows no head" in ran.stderr else [])
    assert bool(lost) == (head != "none" and family in ("gemma", "gemma2"))
    assert ("lm_head.weight" in keys) == (not tied)
    assert {"hidden_size", "num_attention_heads", "rms_norm_eps"} < config.keys()
    assert "max_position_embeddings" in config

    merged = ran.json["merged"]
    assert merged["untied"] == (is_tied(base) and head != "none")
    assert merged["layers"] == 2 * base.config.num_hidden_layers
    assert 0 <= merged["max_logit_difference"] < 1e-3 * merged["largest_logit"]
    assert merged["tokens"] == 1 + len(export.PROBE)
    assert ran.json["bytes"][str(folder)] > (folder / "model.safetensors").stat().st_size
    assert str(tmp_path) not in (folder / "lvlora.json").read_text(), "no paths of this machine"


def test_what_is_reported_is_what_a_reader_finds(run_lvlora, make_adapter, plain, tmp_path):
    run, _ = make_adapter("llama")
    folder = tmp_path / "merged"
    merged = run_lvlora(["export", run, "--merged", folder, "--dtype", "bfloat16", "--json"]).json[
        "merged"
    ]
    assert merged["dtype"] == "bfloat16"
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"

    base = tiny_models.load_tiny(
        Path(json.loads((run / "adapter/lvlora.json").read_text())["model"])
    )
    adapters.attach(base, adapters.read_info(run / "adapter"))
    ids = export.probe_ids(base)
    model, _ = plain(folder)
    difference = (export.logits(model, ids) - export.logits(base.module, ids)).abs().max()
    assert merged["max_logit_difference"] == pytest.approx(float(difference), rel=1e-3)
    assert 1e-4 < merged["max_logit_difference"] / merged["largest_logit"] < 0.05


PATTERNS = LoraPlan(
    targets=("q_proj", "down_proj"), rank_pattern={"q_proj": 2}, alpha_pattern={"down_proj": 40}
)


@pytest.mark.parametrize("head", ["none", "full"])
def test_peft_reads_a_peft_folder(run_lvlora, make_adapter, tiny_folder, tmp_path, head):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    run, expected = make_adapter("qwen2", head, PATTERNS)
    folder = tmp_path / "peft"
    run_lvlora(["export", run, "--peft", folder, "--json"], code=0)
    base = AutoModelForCausalLM.from_pretrained(tiny_folder("qwen2"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft only warns of keys it misses
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings")
        model = peft.PeftModel.from_pretrained(base, str(folder))
    assert close(export.logits(model, IDS), expected)
    for file in folder.glob("*.json"):
        assert str(tmp_path) not in file.read_text(), "no paths of this machine"
    # and lvlora reads it back, scale and all
    info = adapters.read_info(folder)
    assert info.facts["scale"]["divisors"] == [0.5, 0.5]
    again = tiny_models.load_tiny(tiny_folder("qwen2"))
    adapters.attach(again, info)
    assert close(export.logits(again.module, IDS), expected)


@pytest.mark.parametrize("model", ["bundled", "folder"])
def test_peft_finds_the_base_of_a_run_by_itself(run_lvlora, tiny_folder, tmp_path, model):
    """And what is exported for others names no folder of this machine."""
    peft = pytest.importorskip("peft")
    data, run = tmp_path / "data.csv", tmp_path / "one"
    write_dataset(tiny_runs.dataset(), data)
    name = "bundled" if model == "bundled" else tiny_folder("qwen2")
    steps = ["--max-steps", "1", "--seq-len", "48", "--no-validation", "--threads", "1"]
    run_lvlora(["train", data, "--model", name, "--out", run, "--runs", tmp_path, *steps], code=0)
    opened = peft.AutoPeftModelForCausalLM.from_pretrained(run / "adapter")
    assert any("lora_B" in name for name, _ in opened.named_parameters())
    run_lvlora(["export", run, "--peft", tmp_path / "shared"], code=0)
    shared = json.loads((tmp_path / "shared/adapter_config.json").read_text())
    assert "/" not in shared["base_model_name_or_path"]


def test_an_adapter_of_peft_is_merged(run_lvlora, plain, tiny_folder, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    config = peft.LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules=["q_proj", "up_proj"],
        modules_to_save=["lm_head"],
        task_type="CAUSAL_LM",
        lora_dropout=0.1,
        init_lora_weights="gaussian",
    )
    base = AutoModelForCausalLM.from_pretrained(tiny_folder("qwen2"))
    model = peft.get_peft_model(base, config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "theirs")
    arguments = [tmp_path / "theirs", "--model", tiny_folder("qwen2")]
    ran = run_lvlora(
        ["export", *arguments, "--merged", tmp_path / "m", "--peft", tmp_path / "p"], code=0
    )
    assert "untied: it was trained" in ran.stdout
    assert close(plain(tmp_path / "m")[1], export.logits(model, IDS))
    written = json.loads((tmp_path / "p" / "adapter_config.json").read_text())
    assert (written["r"], written["lora_alpha"], written["lora_dropout"]) == (3, 5, 0.1)


def test_a_numeric_head_is_not_for_peft(run_lvlora, make_adapter, tmp_path):
    run, _ = make_adapter(head="numeric")
    both = ["--merged", tmp_path / "m", "--peft", tmp_path / "p"]
    ran = run_lvlora(["export", run, *both], code=4)
    assert "numeric head" in ran.stderr
    assert "--merged" in ran.stderr
    assert not (tmp_path / "m").exists()
    assert not (tmp_path / "p").exists()


# what is refused


def test_what_is_refused(run_lvlora, make_adapter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_adapter()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for line, code, name in (
        ("run", 2, "--merged DIR"),
        ("", 2, "ADAPTER is missing"),
        ("none --merged m", 2, "ADAPTER none"),
        ("runn --merged m", 4, "Did you mean run?"),
        ("run --merged m --peft m", 2, "cannot be both"),
        ("run --merged m --peft m/p", 2, "cannot be both"),
        ("run --merged runs", 2, "holds what is exported"),
        ("run --peft runs/run/adapter --overwrite", 2, "holds what is"),
        ("run --merged . --overwrite", 2, "the working folder"),
        ("run --merged file", 2, "is no folder"),
        ("run --merged full", 2, "is there already"),
        ("run --merged full --overwrite", 2, "is not replaced"),
        ("run --merged m --dtype float16", 2, "--dtype"),
    ):
        ran = run_lvlora(["export", *line.split()], code=code)
        assert name in ran.stderr, line
        assert ran.stdout == ""
        assert sorted(tmp_path.rglob("*")) == before


def test_an_export_is_replaced_when_asked(run_lvlora, make_adapter, plain, tmp_path):
    folder = tmp_path / "merged"
    first, _ = make_adapter(name="first")
    second, expected = make_adapter(head="full", name="second")
    assert run_lvlora(["export", first, "--merged", folder]).exit_code == 0
    assert run_lvlora(["export", second, "--merged", folder]).exit_code == 2
    note = folder / "note.txt"
    note.write_text("mine")
    ran = run_lvlora(["export", second, "--merged", folder, "--overwrite"], code=2)
    assert "lvlora did not write its note.txt" in ran.stderr
    note.unlink()
    assert run_lvlora(["export", second, "--merged", folder, "--overwrite"]).exit_code == 0
    assert close(plain(folder)[1], expected)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    modes = {file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == {0o666 & ~durable.umask()}, "readable for those who may read other new files"


def test_killed_before_the_end_it_leaves_no_folder(run_lvlora, make_adapter, tmp_path):
    """None that is new, and one that was there as it was."""
    run, _ = make_adapter()
    new, old = tmp_path / "new", tmp_path / "old"
    assert run_lvlora(["export", run, "--merged", old]).exit_code == 0
    before = {f.name: f.read_bytes() for f in old.iterdir()}

    def dies():
        export._read_back = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

    for folder in (new, old):
        command = Forked(["export", run, "--merged", folder, "--overwrite"], before=dies)
        output = command.communicate()
        assert command.returncode == -signal.SIGKILL, output
    assert not new.exists()
    assert {f.name: f.read_bytes() for f in old.iterdir()} == before


def test_a_folder_that_gives_other_logits_is_not_kept(
    run_lvlora, make_adapter, tmp_path, monkeypatch
):
    run, _ = make_adapter()
    real = export._read_back
    monkeypatch.setattr(export, "_read_back", lambda *args: real(*args) * 1.01)
    ran = run_lvlora(["export", run, "--merged", tmp_path / "merged"], code=1)
    assert "does not give the logits" in ran.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["runs"]


def test_the_examples_of_the_help(run_lvlora, make_adapter, tmp_path, monkeypatch):
    import re

    monkeypatch.chdir(tmp_path)
    make_adapter()
    for line in re.findall(r"\[bold\]lvlora (.*?)\[/bold\]", load_command("export").epilog or ""):
        ran = run_lvlora(line.split(), code=0)
        assert ran.stderr.startswith("Next: lvlora forecast FILE")
        assert "largest logit difference" in ran.stdout or "PEFT folder" in ran.stdout
