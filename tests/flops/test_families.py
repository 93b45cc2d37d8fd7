"""The list of families is transformers', and each of them is tried by the tests of models."""

import tiny_models
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lvlora.flops.shape import FAMILIES


def test_architectures_are_transformers_language_models():
    classes = {name: family.architecture for name, family in FAMILIES.items()}
    assert classes == {name: MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[name] for name in FAMILIES}


def test_every_family_has_a_tiny_model():
    """With which loading, attention, the head, LoRA and exports are compared with transformers."""
    assert {model_type for model_type, _ in tiny_models.FAMILIES.values()} == set(FAMILIES)
