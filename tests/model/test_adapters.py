"""Adapters on disk: PEFT reads ours, we read PEFT's, and what is wrong is refused by name."""

import dataclasses
import json
import shutil
import typing
import warnings
from pathlib import Path

import pytest
import tiny_models
import torch
from safetensors.torch import load_file, save_file

from lvlora.errors import ModelError
from lvlora.model import adapters, lora
from lvlora.model.adapters import FACTS, HARMLESS, HEAD, HONOURED, WEIGHTS, config_for, plan_from
from lvlora.model.catalogue import ADAPTER_CONFIG as CONFIG
from lvlora.model.head import NumericHead, head_of, is_tied, untie_head
from lvlora.model.lora import LoraPlan

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings(  # peft of transformers, transformers of us
    "ignore:.*is_gradient_checkpointing:FutureWarning",
    "ignore:Model has `tie_word_embeddings=True`:UserWarning",
)

IDS = torch.randint(0, 15, (2, 20), generator=torch.Generator().manual_seed(0))


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def randomise(module):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)


def save_ours(base, folder, plan, *, full_head=False, head=None, **facts):
    """Inject, give the updates values, save; returns the logits of the whole."""
    lora.inject(base.module, plan)
    randomise(base.module)
    if full_head:
        untie_head(base.module)
        with torch.no_grad():
            head_of(base.module).weight += 0.1 * torch.randn(head_of(base.module).weight.shape)
    config = config_for(plan, base.name, full_head)
    tensors = adapters.adapter_tensors(base.module, head, full_head)
    adapters.save(folder, config, tensors, facts)
    return logits(base.module)


def with_adapter(base, folder):
    adapters.attach(base, adapters.read_info(folder))
    return logits(base.module)


def close(a, b):
    # float32 products in another order: some units in the last place of the largest
    return torch.allclose(a, b, atol=3e-5 * b.std().item(), rtol=1e-5)


PLANS = {
    "default": LoraPlan(),
    "r4": LoraPlan(rank=4, alpha=3.5),
    "all-linear": LoraPlan(rank=3, targets=("all-linear",)),
    "rslora": LoraPlan(rank=4, rslora=True),
    "layers": LoraPlan(layers=(1,)),
    "all-linear-layers": LoraPlan(targets=("all-linear",), layers=(0,)),
    "patterns": LoraPlan(
        targets=("q_proj", "k_proj", "down_proj"),
        rank_pattern={"k_proj": 2, "layers.1.self_attn.q_proj": 5},
        alpha_pattern={"down_proj": 40.0},
    ),
    "rslora-patterns": LoraPlan(
        rslora=True, rank_pattern={"v_proj": 2}, alpha_pattern={"q_proj": 1}
    ),
    "regex": LoraPlan(target_regex=r".*\.0\.self_attn\.(q|o)_proj|.*up_proj"),
}


@pytest.mark.parametrize(
    ("family", "name"),
    [*(("qwen2", name) for name in PLANS), ("llama", "all-linear"), ("gemma2", "patterns")],
)
def test_ours_is_the_same_in_peft_and_here(tiny_base, tiny_folder, tmp_path, name, family):
    from transformers import AutoModelForCausalLM

    expected = save_ours(tiny_base(family), tmp_path, PLANS[name])
    assert not close(expected, logits(tiny_base(family).module))
    assert close(with_adapter(tiny_base(family), tmp_path), expected)

    plain = AutoModelForCausalLM.from_pretrained(tiny_folder(family))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # peft only warns of keys it misses
        model = peft.PeftModel.from_pretrained(plain, str(tmp_path))
    assert close(logits(model), expected)
    # and peft finds exactly these tensors
    theirs = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    assert theirs.keys() == load_file(tmp_path / WEIGHTS).keys()
    assert close(logits(model.merge_and_unload()), expected)


@pytest.mark.parametrize(
    ("family", "name"),
    [*(("qwen2", name) for name in PLANS if "all-linear-" not in name), ("gemma3", "all-linear")],
)
def test_pefts_is_the_same_here(tiny_base, tiny_folder, tmp_path, name, family):
    from transformers import AutoModelForCausalLM

    plan = PLANS[name]
    targets = plan.target_regex or (
        "all-linear" if plan.targets == ("all-linear",) else list(plan.targets)
    )
    config = peft.LoraConfig(
        r=plan.rank,
        lora_alpha=plan.alpha,
        target_modules=targets,
        use_rslora=plan.rslora,
        layers_to_transform=None if plan.layers is None else list(plan.layers),
        rank_pattern=plan.rank_pattern,
        alpha_pattern=plan.alpha_pattern,
        task_type="CAUSAL_LM",
        lora_dropout=0.1,
    )
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_folder(family)), config)
    randomise(model)
    model.eval().save_pretrained(tmp_path)
    assert close(with_adapter(tiny_base(family), tmp_path), logits(model))


@pytest.mark.parametrize("family", ["qwen2", "llama"])  # tied and untied
def test_a_whole_head_goes_both_ways(tiny_base, tiny_folder, tmp_path, family):
    from transformers import AutoModelForCausalLM

    ours = tmp_path / "ours"
    expected = save_ours(tiny_base(family), ours, LoraPlan(), full_head=True)
    base = tiny_base(family)
    embedding = base.module.get_input_embeddings().weight.clone()
    assert close(with_adapter(base, ours), expected)
    assert not is_tied(base.module)
    assert torch.equal(base.module.get_input_embeddings().weight, embedding)
    assert not any(p.requires_grad for p in base.module.parameters())
    plain = AutoModelForCausalLM.from_pretrained(tiny_folder(family))
    assert close(logits(peft.PeftModel.from_pretrained(plain, str(ours))), expected)

    theirs = tmp_path / "theirs"
    config = peft.LoraConfig(
        r=2, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM"
    )
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_folder(family)), config)
    randomise(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lm_head" in name and "modules_to_save" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.eval().save_pretrained(theirs)
    assert close(with_adapter(tiny_base(family), theirs), logits(model))


def test_saving_twice_gives_the_same_bytes(tiny_base, tmp_path):
    for name in ("a", "b"):
        save_ours(tiny_base("qwen2"), tmp_path / name, LoraPlan(), decimals=2)
    for file in (WEIGHTS, CONFIG, FACTS):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_trained_numeric_head_comes_back(tiny_base, tmp_path):
    base = tiny_base("qwen2")
    head = NumericHead(base.module, base.alphabet, trainable=True)
    with torch.no_grad():
        head.weight.normal_()
    save_ours(base, tmp_path, LoraPlan(), head=head)
    assert HEAD not in str(load_file(tmp_path / WEIGHTS).keys())  # peft would not know it
    fresh = tiny_base("qwen2")
    back = adapters.attach(fresh, adapters.read_info(tmp_path))
    hidden = torch.randn(3, 32)
    assert torch.equal(back(hidden), head(hidden))
    assert not any(p.requires_grad for p in back.parameters())
    # written into the model's own head it says the same
    back.write_back(fresh.module)
    with torch.no_grad():
        reference = head_of(fresh.module)(hidden)
    assert torch.allclose(reference[:, list(fresh.alphabet.ids)], head(hidden), atol=1e-5)
    assert not is_tied(fresh.module)


def test_saving_without_a_head_forgets_an_earlier_one(tiny_base, tmp_path):
    base = tiny_base("qwen2")
    head = NumericHead(base.module, base.alphabet, trainable=True)
    save_ours(base, tmp_path, LoraPlan(), head=head)
    save_ours(tiny_base("qwen2"), tmp_path, LoraPlan())
    assert adapters.attach(tiny_base("qwen2"), adapters.read_info(tmp_path)) is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision_load(tiny_base, tmp_path, dtype):
    expected = save_ours(tiny_base(), tmp_path, LoraPlan())
    (tmp_path / FACTS).unlink()
    tensors = load_file(tmp_path / WEIGHTS)
    save_file({n: t.to(dtype) for n, t in tensors.items()}, tmp_path / WEIGHTS)
    base = tiny_base()
    result = with_adapter(base, tmp_path)
    assert (result - expected).abs().max() < 0.1 * expected.std()
    assert {m.lora_a.dtype for _, m in lora.lora_layers(base.module)} == {torch.float32}


# what is refused


@pytest.fixture(scope="module")
def saved_once(tiny_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    save_ours(tiny_models.load_tiny(tiny_folder("qwen2")), folder, LoraPlan(rank=4))
    (folder / FACTS).unlink()
    return folder


@pytest.fixture
def saved(saved_once, tmp_path) -> Path:
    """An adapter as another tool would leave it: without lvlora.json."""
    return Path(shutil.copytree(saved_once, tmp_path, dirs_exist_ok=True))


def change_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def refused(tiny_base, folder, message):
    """It is refused, in one line, and the base is as it was."""
    base = tiny_base()
    before = {n: p.clone() for n, p in base.module.named_parameters()}
    with pytest.raises(ModelError, match=message) as caught:
        adapters.attach(base, adapters.read_info(folder))
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 4
    after = dict(base.module.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[n], p) for n, p in before.items())


def test_a_target_that_this_model_lacks_is_passed_over_as_peft_does(tiny_base, saved):
    tiny_models.edit(saved / CONFIG, target_modules=["q_proj", "v_proj", "qkv_proj"])
    with_adapter(tiny_base(), saved)


Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"{Q0}.lora_A.weight"), "lacks .*layers.0.self_attn.q_proj.lora_A"),
        (lambda t: t.update({f"{Q0}.lora_A.weight": torch.ones(32, 4)}), "shape"),
        (lambda t: t[f"{Q0}.lora_B.weight"].fill_(float("nan")), "not finite"),
    ],
)
def test_weights_that_do_not_fit(tiny_base, saved, change, message):
    change_weights(saved, change)
    refused(tiny_base, saved, message)


def test_pickles_are_never_read(tiny_base, saved):
    (saved / WEIGHTS).unlink()
    (saved / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    base = tiny_base()
    with pytest.raises(ModelError, match="no such file") as caught:
        adapters.attach(base, adapters.read_info(saved))
    assert "pickled" in caught.value.hint


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "[" * 100_000, "\xff"])
def test_facts_that_are_no_json(tiny_base, saved, content):
    (saved / FACTS).write_text(content, encoding="latin-1")
    refused(tiny_base, saved, FACTS)


def test_no_adapter_there(tmp_path):
    with pytest.raises(ModelError, match="no adapter here"):
        adapters.read_info(tmp_path)


def test_another_base_is_refused(tiny_base, tmp_path):
    save_ours(tiny_base(), tmp_path, LoraPlan(), base_sha256="0" * 64, model="qwen2.5-0.5b")
    base = tiny_base()
    with pytest.raises(ModelError, match="other weights") as caught:
        adapters.attach(base, adapters.read_info(tmp_path))
    assert "model qwen2.5-0.5b" in caught.value.hint


@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("file", [WEIGHTS, HEAD])
def test_changed_and_lost_weights_are_noticed(tiny_base, tmp_path, file, lost):
    base = tiny_base()
    head = NumericHead(base.module, base.alphabet, trainable=True)
    save_ours(base, tmp_path, LoraPlan(), head=head)
    content = bytearray((tmp_path / file).read_bytes())
    content[-1] ^= 1
    (tmp_path / file).unlink()
    if not lost:
        (tmp_path / file).write_bytes(content)
    refused(tiny_base, tmp_path, f"{file}: is not as")


# adapter_config.json, setting by setting

FIELDS = [field.name for field in dataclasses.fields(peft.LoraConfig)]
HERE = Path("adapter")


def plain(**changes):
    """A config as peft writes it, defaults and all."""
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM").to_dict()
    config["target_modules"] = sorted(config["target_modules"])
    return json.loads(json.dumps(config)) | changes


def test_all_that_peft_writes_by_default_is_taken():
    plan, full_head = plan_from(plain(), HERE)
    assert (plan.rank, plan.alpha, plan.targets, full_head) == (4, 8.0, ("q_proj",), False)


@pytest.mark.parametrize("value", [True, "x", [1], {"a": 1}], ids=str)
def test_what_is_neither_honoured_nor_harmless_is_refused_by_name(value):
    refused = {*FIELDS, "use_tomorrows_trick", "enable_lora"} - HONOURED - HARMLESS
    assert {"use_dora", "lora_bias", "fan_in_fan_out", "layer_replication"} < refused
    for name in refused:
        with pytest.raises(ModelError, match=f"uses {name},"):
            plan_from(plain(**{name: value}), HERE)


def test_what_nobody_knows_is_taken_when_it_is_off():
    for off in (None, False, 0, "", [], {}):
        assert plan_from(plain(use_tomorrows_trick=off), HERE) == plan_from(plain(), HERE)


HARMLESS_VALUES: dict[str, object] = {
    "task_type": "FEATURE_EXTRACTION",
    "auto_mapping": {"base_model_class": "X", "parent_library": "transformers.models.x"},
    "peft_version": "0.99.0",
    "base_model_name_or_path": None,
    "revision": "main",
    "inference_mode": True,
    "lora_dropout": 0.5,
    "loftq_config": {"loftq_bits": 2},
    "eva_config": {"rho": 1.5},
    "corda_config": {"corda_method": "kpm"},
    "lora_ga_config": {"scale": "stable"},
    "megatron_core": "megatron.elsewhere",
    "qalora_group_size": 4,
}


@pytest.mark.parametrize("name", sorted(HARMLESS & set(FIELDS) - {"runtime_config"}))
def test_what_is_harmless_changes_nothing_here_and_in_peft(saved, tiny_base, name):
    expected = with_adapter(tiny_base(), saved)
    tiny_models.edit(saved / CONFIG, **{name: HARMLESS_VALUES[name]})
    assert torch.equal(with_adapter(tiny_base(), saved), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft says that it does not need it
        theirs = peft.PeftModel.from_pretrained(
            tiny_base("qwen2", through_transformers=True).module, str(saved)
        ).eval()
    assert torch.allclose(logits(theirs), expected, atol=1e-4)


def beginnings():
    """The values of init_lora_weights that the installed peft documents."""
    kind = typing.get_type_hints(peft.LoraConfig)["init_lora_weights"]
    words = [w for part in typing.get_args(kind) for w in typing.get_args(part)]
    return [True, False, *(w.replace("[number of iters]", "4") for w in words)]


@pytest.mark.parametrize("began", beginnings())
def test_adapters_whose_beginning_changed_the_base_are_refused(tiny_base, began):
    """Those that are taken leave the base as it was, by peft's own doing."""
    try:
        plan_from(plain(init_lora_weights=began), HERE)
    except ModelError as error:
        assert f"init_lora_weights={began!r}" in error.message  # noqa: PT017
        assert began not in (True, False, "gaussian")
        return
    module = tiny_base().module
    before = {n: p.clone() for n, p in module.named_parameters()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # EVA wants data first
        config = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=began)
        model = peft.get_peft_model(module, config)
    after = {n.replace(".base_layer", ""): p for n, p in model.base_model.model.named_parameters()}
    assert all(torch.equal(after[n], p) for n, p in before.items())
