"""Every setting that the installed peft knows is honoured, harmless, or refused by its name."""

import dataclasses
import json
import typing
import warnings
from pathlib import Path

import pytest
import tiny_models
import torch

from lvlora.errors import ModelError
from lvlora.model import lora
from lvlora.model.adapters import files as adapter_files
from lvlora.model.adapters.config import HARMLESS, HONOURED, config_for, plan_from
from lvlora.model.adapters.files import FACTS
from lvlora.model.adapters.search import CONFIG

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is_gradient_checkpointing:FutureWarning",  # peft of transformers
)

FIELDS = [field.name for field in dataclasses.fields(peft.LoraConfig)]
PLAN = lora.LoraPlan(rank=4)
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


SAID: dict[str, object] = {
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


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_folder):
    """An adapter with values, as another tool would leave it, and the logits with it."""
    folder = tmp_path_factory.mktemp("adapter")
    base = tiny_models.load_tiny(tiny_folder("qwen2"))
    lora.inject(base.module, PLAN)
    with torch.no_grad():
        for _, layer in lora.lora_layers(base.module):
            layer.lora_b.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    tensors = adapter_files.adapter_tensors(base.module)
    adapter_files.save(folder, config_for(PLAN, "tiny", False), tensors, {})
    (folder / FACTS).unlink()
    return folder, logits(base.module)


def logits(module):
    with torch.no_grad():
        return module(torch.arange(12)[None]).logits


@pytest.mark.parametrize("name", sorted(HARMLESS & set(FIELDS) - {"runtime_config"}))
def test_what_is_harmless_changes_nothing_here_and_in_peft(adapter, tiny_base, name):
    folder, expected = adapter
    config = config_for(PLAN, "tiny", False)
    (folder / CONFIG).write_text(json.dumps(config | {name: SAID[name]}))
    base = tiny_base()
    adapter_files.attach(base, adapter_files.read_info(folder))
    assert torch.equal(logits(base.module), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peft says that it does not need it
        theirs = peft.PeftModel.from_pretrained(
            tiny_base("qwen2", through_transformers=True).module, str(folder)
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
