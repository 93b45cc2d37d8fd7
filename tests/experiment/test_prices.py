"""What the coursework's stages cost with the coursework's model, known by its shape alone."""

import json
from pathlib import Path

import numeric_tokenizer
import pytest

from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.experiment.experiment import price_stages
from lvlora.experiment.settings import ExperimentSettings, read_stages

COURSEWORK = Path(__file__).parents[2] / "examples" / "coursework.toml"
QWEN = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "rope_theta": 1000000.0,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": True,
    "hidden_act": "silu",
}


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "executed"), [("small", 5 * 10**15), (None, 10**17)])
def test_the_coursework_fits_its_budget(tmp_path, scale, executed):
    numeric_tokenizer.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    settings = ExperimentSettings(
        model=str(tmp_path), scale=scale, budget=10**17, convention="coursework", threads=1
    )
    sources = dict.fromkeys(ExperimentSettings.model_fields, "flag")
    _, stages = read_stages(settings, sources, COURSEWORK)
    data = simulate(SimulateSettings(n_series=850))
    planned = price_stages(stages, data, [])
    assert sum(p.flops_at_most.coursework for p in planned) <= 10**17
    assert sum(p.flops_at_most.executed for p in planned) <= executed
    # not so small that nothing could be learned
    assert int(planned[1].what.split()[0].replace(",", "")) > 40
