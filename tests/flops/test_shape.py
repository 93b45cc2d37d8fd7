import json

import pytest
import tiny_models
import torch
import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lvlora.errors import ModelError, SettingsError
from lvlora.flops.account import Trained
from lvlora.flops.catalogue import KNOWN_MODELS, architecture, find_shape
from lvlora.flops.executed import Head
from lvlora.flops.shape import FAMILIES, LINEARS, Lora, ModelShape, resolve_targets

CONFIG_CLASSES = {
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
    "llama": transformers.LlamaConfig,
    "gemma": transformers.GemmaConfig,
    "gemma2": transformers.Gemma2Config,
    "gemma3_text": transformers.Gemma3TextConfig,
}
SMALL = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 101,
}

PUBLISHED_PARAMETERS = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "smollm2-135m": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-3.2-1b": 1_235_814_400,
    "gemma-2b": 2_506_172_416,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-270m": 268_098_176,
    "gemma-3-1b": 999_885_952,
}


@pytest.mark.parametrize("name", KNOWN_MODELS)
def test_known_shapes_have_the_published_parameter_counts(name):
    assert find_shape(name).parameter_count()["total"] == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize("family", CONFIG_CLASSES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_parameters_equal_those_of_the_real_model(family, tied, bias, tmp_path):
    extra = {} if family == "qwen2" else {"attention_bias": bias}
    if family == "llama":
        extra["mlp_bias"] = bias
    config = CONFIG_CLASSES[family](**SMALL, tie_word_embeddings=tied, **extra)
    config.save_pretrained(tmp_path)
    shape = ModelShape.from_file(tmp_path)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    real = {"embeddings": 0, "attention": 0, "mlp": 0, "norms": 0, "head": 0}
    words = {"norm": "norms", "self_attn": "attention", ".mlp.": "mlp", "lm_head": "head"}
    for name, parameter in model.named_parameters():
        part = next((part for word, part in words.items() if word in name), "embeddings")
        real[part] += parameter.numel()
    assert shape.parameter_count() == {**real, "total": sum(real.values())}
    for name, (n_in, n_out) in shape.linear_layers().items():
        owner = "self_attn" if name in LINEARS[:4] else "mlp"
        module = model.get_submodule(f"model.layers.1.{owner}.{name}")
        assert (module.in_features, module.out_features) == (n_in, n_out)
        assert (module.bias is not None) == shape.has_bias(name)


@pytest.mark.parametrize("family", CONFIG_CLASSES)
def test_facts_are_read_as_transformers_reads_them(family, tmp_path):
    config = CONFIG_CLASSES[family](
        **SMALL, max_position_embeddings=123, rms_norm_eps=1e-4, bos_token_id=5, eos_token_id=[6, 7]
    )
    config.save_pretrained(tmp_path)
    shape = ModelShape.from_file(tmp_path)
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    assert shape.rope_theta == rope["rope_theta"]
    assert (shape.max_positions, shape.norm_eps) == (123, 1e-4)
    assert (shape.bos_id, shape.eos_id) == (5, 6)
    assert shape.model_type == family


def test_rope_theta_at_top_level():
    old = {"model_type": "qwen2", "rope_theta": 5e5, **SMALL}
    assert ModelShape.from_config(old).rope_theta == 5e5
    new = {**SMALL, "model_type": "qwen2", "rope_parameters": {"rope_theta": 7e5}}
    assert ModelShape.from_config(new).rope_theta == 7e5


def test_gemma2_soft_caps_unless_switched_off():
    config = {"model_type": "gemma2", **SMALL}
    assert ModelShape.from_config(config).attention_softcap
    assert not ModelShape.from_config({**config, "attn_logit_softcapping": None}).attention_softcap
    assert not ModelShape.from_config({**config, "model_type": "llama"}).final_softcap


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"model_type": "gpt2"}, "gpt2"),
        ({"model_type": None}, "None"),
        ({"model_type": ["x"]}, "model_type"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": -3}, "-3"),
        ({"hidden_size": True}, "hidden_size"),
        ({"num_hidden_layers": "24"}, "num_hidden_layers"),
        ({"vocab_size": 10**30}, "vocab_size"),
        ({"num_key_value_heads": 3}, "key/value"),
        ({"hidden_act": "relu"}, "relu"),
        ({"rope_theta": "big"}, "rope_theta"),
        ({"rms_norm_eps": "tiny"}, "rms_norm_eps"),
    ],
)
def test_bad_configs_are_refused_by_name(change, word):
    with pytest.raises(ModelError, match=word) as caught:
        ModelShape.from_config({"model_type": "qwen2", **SMALL, **change})
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("content", [None, b"{"])
def test_bad_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
        ModelShape.from_file(path)


def test_lora_parameters_of_the_design():
    shape = find_shape("qwen2.5-0.5b")

    def count(lora, train_head="none"):
        return Trained(shape, lora, Head.of(shape, "numeric", train_head)).n_parameters

    targets = ("q_proj", "v_proj")
    assert [count(Lora.of(r, targets)) for r in (8, 4, 2, 0)] == [540_672, 270_336, 135_168, 0]
    assert count(Lora.of(8, ("q_proj",))) == 344_064
    assert count(Lora.of(8, targets, layers=(0, 5))) == 2 * 540_672 // 24
    assert count(Lora(), "full") == 136_134_656
    assert count(Lora(), "numeric") == 15 * 896


def test_all_linear_is_every_linear_but_the_head():
    assert resolve_targets(["all-linear"]) == LINEARS
    assert resolve_targets(["v_proj", "q_proj", "v_proj"]) == ("q_proj", "v_proj")


@pytest.mark.parametrize("targets", [["lm_head"], ["q"], []])
def test_unknown_targets_are_refused(targets):
    with pytest.raises(SettingsError):
        resolve_targets(targets)


def test_find_shape(tmp_path):
    assert find_shape("Qwen/Qwen2.5-0.5B-Instruct").name == "qwen2.5-0.5b"
    assert find_shape("gemma3-270m") == find_shape("google/gemma-3-270m-it")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2", **SMALL}))
    assert find_shape(str(tmp_path)).hidden == 24
    with pytest.raises(ModelError) as caught:
        find_shape("qwen2.5-0.5")
    assert "qwen2.5-0.5b?" in caught.value.hint


def test_the_architecture_has_the_models_facts():
    result = architecture(find_shape("qwen2.5-0.5b"))
    assert result.architecture["Parameters"] == "494,032,768"
    assert result.architecture["Hidden size"] == "896"
    assert result.architecture["RoPE base"] == "1,000,000"
    assert result.vocabulary["BOS token id"] == "151,643"
    assert result.vocabulary["Word embeddings"] == "tied with the head"
    assert any("7 query heads" in value for value in result.layer.values())


def test_architectures_are_transformers_language_models():
    classes = {name: family.architecture for name, family in FAMILIES.items()}
    assert classes == {name: MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name] for name in FAMILIES}


def test_every_family_has_a_tiny_model():
    """With which loading, attention, the head, LoRA and exports are compared with transformers."""
    assert {model_type for model_type, _ in tiny_models.FAMILIES.values()} == set(FAMILIES)
