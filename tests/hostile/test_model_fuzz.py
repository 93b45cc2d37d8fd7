"""Every key of a model's and an adapter's JSON files with any value: a sentence, or a forecast."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_models
import tiny_runs

WHOLE = (0, 1, -1, 2, 3, 16, 2**31, 2**63, -(2**63), 10**30, 10**300)
FRACTIONS = (0.0, 0.5, 1.5, -0.5, 1e-300, 1e308, math.nan, math.inf)
TEXTS = ("", "x", "1", "silu", "x" * 10_000, "\x1b[31mred", "../x", "nan")
LISTS = ([], [1], ["x"], [None], [[[]]], [1] * 1000)
OBJECTS = ({}, {"a": 1}, {"a": {"b": []}}, {"__type": "AddedToken", "content": "x"})
ROPE = {"rope_type": "linear", "factor": 0}
VALUES = (None, True, False, *WHOLE, *FRACTIONS, *TEXTS, *LISTS, *OBJECTS, ROPE)
QUICK = 1
"""Values a key in the quick version, which differ from key to key."""

BESIDE = {
    "config.json": """
        hidden_act hidden_activation final_logit_softcapping attn_logit_softcapping
        sliding_window layer_types head_dim rope_scaling rope_parameters rope_theta
        attention_bias mlp_bias quantization_config torch_dtype dtype num_labels id2label
        transformers_weights auto_map use_bidirectional_attention pruned_heads
        partial_rotary_factor query_pre_attn_scalar attention_dropout
    """,
    "generation_config.json": """
        eos_token_id pad_token_id temperature top_k
    """,
    "tokenizer_config.json": """
        tokenizer_class bos_token eos_token pad_token additional_special_tokens
        extra_special_tokens added_tokens_decoder add_bos_token model_max_length
        padding_side chat_template fast_tokenizer_files auto_map add_prefix_space
    """,
    "special_tokens_map.json": """
        bos_token eos_token pad_token additional_special_tokens extra_special_tokens
    """,
    "tokenizer.json": """
        normalizer pre_tokenizer post_processor decoder added_tokens padding truncation
        model version
    """,
    "adapter_config.json": """
        target_modules rank_pattern alpha_pattern exclude_modules layers_to_transform
        layers_pattern modules_to_save
    """,
    "lvlora.json": """
        scale decimals number_format model revision base_sha256 sha256 flops
        data_sha256 split_sha256
    """,
}
"""Keys of each file, written there or not."""


def cases(folder: Path, file: str, quick: bool) -> Iterator[dict[str, object]]:
    """The file's content, with one key changed."""
    path = folder / file
    original = json.loads(path.read_text()) if path.is_file() else {}
    if file == "lvlora.json":  # what vouches for the rest would end all of them alike
        for key in ("facts_sha256", "sha256"):
            original.pop(key, None)
    keys = sorted({*original, *BESIDE[file].split()})
    for number, key in enumerate(keys):
        for i, value in enumerate(VALUES):
            if not quick or (i - 7 * number) % len(VALUES) in range(QUICK):
                yield {**original, key: value}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_folder):
    """An adapter as a training leaves it."""
    from lvlora.cli.program.app import main

    root = tmp_path_factory.mktemp("adapter")
    data = tiny_runs.write_csv(root / "data.csv", tiny_runs.dataset())
    words = tiny_runs.flags(
        tiny_folder("qwen2"),
        root / "runs",
        out=root / "runs" / "mine",
        max_steps=2,
        validation=False,
    )
    assert main(["train", str(data), *words, "--quiet"]) == 0
    return root / "runs" / "mine" / "adapter"


def check(run_lvlora, tmp_path, monkeypatch, folder, file, words, quick):
    monkeypatch.chdir(tmp_path)
    tiny_runs.write_csv(tmp_path / "data.csv", tiny_runs.dataset(1, n_steps=6))
    plain = ["forecast", "data.csv", "--horizon", "1", "--greedy", "--quiet", "--json"]
    broken = []
    for content in cases(folder, file, quick):
        (folder / file).write_text(json.dumps(content))
        ran = run_lvlora([*plain, *words])
        printed = ran.stdout + ran.stderr
        # numbers that are not finite are an answer to a factor of 1e18
        allowed = (0, 2, 3, 4) if file == "adapter_config.json" else (0, 2, 4)
        if ran.exit_code not in allowed or "unforeseen" in printed or "\x1b" in printed:
            broken.append((_shown(content), ran.exit_code, ran.stderr[-300:]))
    assert not broken, "\n".join(map(str, broken))


def _shown(content: dict[str, object]) -> str:
    return json.dumps(content)[:400]


SPEED = [pytest.param(True, id="quick"), pytest.param(False, id="all", marks=pytest.mark.slow)]
MODEL_FILES = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "special_tokens_map.json",
]
BY_ALL = "config.json", "generation_config.json"
"""Read by our loader (qwen2) and by transformers' (gemma2); tokenizers are read by one."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("family", "file", "quick"),
    [
        *(("qwen2", file, True) for file in MODEL_FILES),
        *(("gemma2", file, True) for file in BY_ALL),
        *(
            pytest.param(family, file, False, marks=pytest.mark.slow)
            for family in ("qwen2", "gemma2")
            for file in MODEL_FILES
        ),
    ],
)
def test_files_of_a_model(
    run_lvlora, tmp_path, monkeypatch, tiny_folder, family, file, quick, recwarn
):
    model = Path(shutil.copytree(tiny_folder(family), tmp_path / "model"))
    words = ["--model", str(model), "--adapter", "none"]
    check(run_lvlora, tmp_path, monkeypatch, model, file, words, quick)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("quick", SPEED)
@pytest.mark.parametrize("file", ["adapter_config.json", "lvlora.json"])
def test_files_of_an_adapter(run_lvlora, tmp_path, monkeypatch, adapter, file, quick):
    mine = Path(shutil.copytree(adapter, tmp_path / "adapter"))
    if file == "adapter_config.json":
        tiny_models.edit(mine / "lvlora.json", sha256="gone", facts_sha256="gone")
    check(run_lvlora, tmp_path, monkeypatch, mine, file, ["--adapter", str(mine)], quick)
