"""The meaning of --model and --adapter, and the hub cache without any network."""

import json
import shutil
from pathlib import Path

import pytest
import tiny_models

from lvlora.errors import ModelError, SettingsError
from lvlora.model import catalogue
from lvlora.model.catalogue import (
    DEFAULT_HUB_MODEL,
    SHORT_NAMES,
    cached_snapshot,
    find_adapter,
    read_config,
    resolve,
)
from lvlora.model.loading import load, load_tokenizer, unpacked

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty hub cache, and no network."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # after the import that reads it
    return folder


def put(cache: Path, hub_id: str, model: Path, commit: str = COMMIT, ref: str = "main") -> Path:
    """Lay a model out as huggingface_hub does: blobs, snapshots of links, refs."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir(exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / ref).write_text(commit)
    for file in model.iterdir():
        blob = repository / "blobs" / f"{commit[:8]}-{file.name}"
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    return snapshot


@pytest.mark.parametrize("model", ["bundled", "auto"])
def test_bundled(cache, model):
    source = resolve(model)
    assert (source.kind, source.name) == ("bundled", "lvlora-bundled")
    assert Path(source.location) == Path(catalogue.__file__).parent / "bundled"
    assert bool(source.note) == (model == "auto")
    if model == "auto":
        assert "model qwen2.5-0.5b" in source.note


def test_auto_takes_qwen_where_it_is_in_the_cache(cache, tiny_folder):
    snapshot = put(cache, DEFAULT_HUB_MODEL, tiny_folder("qwen2"))
    source = resolve("auto")
    assert (source.kind, source.location) == ("hub", "Qwen/Qwen2.5-0.5B-Instruct")
    assert "model bundled" in source.note
    assert cached_snapshot(source.location) == snapshot


def test_auto_does_not_take_what_is_only_half_there(cache, tiny_folder):
    snapshot = put(cache, DEFAULT_HUB_MODEL, tiny_folder("qwen2"))
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        content = (snapshot / name).resolve()
        (snapshot / name).unlink()
        assert resolve("auto").kind == "bundled", name
        (snapshot / name).symlink_to(content)
    assert resolve("auto").kind == "hub"
    # of a model in parts all must be there
    parts = [snapshot / f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (snapshot / "model.safetensors").rename(parts[0])
    index = {"weight_map": {"a": parts[0].name, "b": parts[1].name}}
    (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    assert resolve("auto").kind == "bundled"
    shutil.copy(parts[0], parts[1])
    assert resolve("auto").kind == "hub"
    for broken in ("{", "[]", '{"weight_map": 3}'):
        (snapshot / "model.safetensors.index.json").write_text(broken)
        assert resolve("auto").kind == "bundled"


def test_revisions(cache, tiny_folder):
    put(cache, DEFAULT_HUB_MODEL, tiny_folder("qwen2"))
    other = "f" * 40
    put(cache, DEFAULT_HUB_MODEL, tiny_folder("qwen3"), other, "v2")
    assert cached_snapshot(DEFAULT_HUB_MODEL).name == COMMIT
    for revision in ("v2", other):
        source = resolve("auto", revision)
        assert source.revision == revision
        assert read_config(source)["model_type"] == "qwen3"
        assert load(source, tiny_models.CPU).shape.model_type == "qwen3"
    with pytest.raises(SettingsError, match="revision v3") as caught:
        resolve("auto", "v3")
    assert "model qwen2.5-0.5b" in caught.value.hint
    with pytest.raises(SettingsError, match="not a hub model"):
        resolve("bundled", "v2")


def test_loading_from_the_cache_asks_no_network(cache, tiny_folder):
    put(cache, DEFAULT_HUB_MODEL, tiny_folder("qwen2"))
    base = load(resolve("qwen2.5-0.5b"), tiny_models.CPU)
    assert base.name == DEFAULT_HUB_MODEL
    assert base.sha256 == tiny_models.load_tiny(tiny_folder("qwen2")).sha256
    assert base.alphabet.start is not None


def test_a_hub_model_that_is_not_there_is_one_sentence(cache):
    for model in ("qwen2.5-0.5b", "someone/something"):
        source = resolve(model)
        assert source.kind == "hub"
        assert read_config(source) is None
        for do in (lambda s: load(s, tiny_models.CPU), load_tokenizer):
            with pytest.raises(ModelError) as caught:
                do(source)
            assert source.location in caught.value.message
            assert "\n" not in caught.value.message
            assert "model bundled" in caught.value.hint


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_short_names(cache, name):
    for spelled in (name, name.upper()):
        source = resolve(spelled, "v1")
        assert (source.kind, source.location, source.revision) == ("hub", SHORT_NAMES[name], "v1")


def test_hub_ids_folders_and_files(cache, tiny_folder, tmp_path, monkeypatch):
    assert resolve("owner/name").location == "owner/name"
    folder = resolve(str(tiny_folder("llama")))
    assert (folder.kind, folder.name) == ("folder", "llama")
    assert read_config(folder)["model_type"] == "llama"
    file = tmp_path / "SmolLM2.Q4.gguf"
    file.write_bytes(b"GGUF")
    source = resolve(str(file))
    assert (source.kind, source.name, source.location) == ("gguf", "SmolLM2.Q4", str(file))
    with pytest.raises(ModelError, match="no whole GGUF file"):
        unpacked(source)
    # a folder here goes before a name of the hub, and ~ is the home
    monkeypatch.chdir(tiny_folder("llama").parent.parent)
    here = f"{tiny_folder('llama').parent.name}/llama"
    assert resolve(here).kind == "folder"
    monkeypatch.setenv("HOME", str(tiny_folder("llama").parent))
    assert resolve("~/llama").kind == "folder"


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("qwen2.5-0.5", "Did you mean qwen2.5-0.5b?"),
        ("Smollm-135m", "Did you mean smollm2-135m?"),
        ("bundle", "Did you mean bundled?"),
        ("no such thing", "Known names: auto, bundled"),
        ("./missing", "Known names"),
        ("/no/where", "Known names"),
        ("models/missing.gguf", "Known names"),
        ("a/b/c", "Known names"),
        ("a/b--c", "Known names"),
        ("-x/y", "Known names"),
        ("owner/..", "Known names"),
    ],
)
def test_unknown_models(cache, model, hint):
    with pytest.raises(ModelError, match="no such file or folder") as caught:
        resolve(model)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 4


def test_folders_and_files_that_are_no_models(cache, tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        resolve(str(tmp_path))
    other = tmp_path / "model.bin"
    other.write_bytes(b"")
    with pytest.raises(ModelError, match="not a model file"):
        resolve(str(other))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="an adapter, not a base model") as caught:
        resolve(str(adapter))
    assert f"adapter {adapter}" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_config_that_is_no_json_object(cache, tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"config\.json"):
        read_config(resolve(str(tmp_path)))


# --adapter


def make_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, the newer one named by ``latest``, and one without an adapter."""
    runs = tmp_path / "runs"
    make_adapter(runs / "20260101-1200-first" / "adapter")
    make_adapter(runs / "20260102-1200-second" / "adapter")
    (runs / "20260103-1200-unfinished").mkdir()
    (runs / "latest").write_text("20260102-1200-second\n")
    return runs


def test_left_out_is_the_newest_run(runs):
    assert find_adapter(None, runs) == runs / "20260102-1200-second" / "adapter"
    assert find_adapter("latest", runs) == runs / "20260102-1200-second" / "adapter"


@pytest.mark.parametrize("output", [True, False])
def test_left_out_without_any_run_is_none_but_latest_is_an_error(tmp_path, output):
    runs = tmp_path / "runs"
    if output:
        runs.mkdir()
    assert find_adapter(None, runs) is None
    with pytest.raises(ModelError, match="no run in"):
        find_adapter("latest", runs)


def test_a_run_name_a_run_folder_and_an_adapter_folder(runs, tmp_path, monkeypatch):
    expected = runs / "20260101-1200-first" / "adapter"
    assert find_adapter("20260101-1200-first", runs) == expected
    assert find_adapter(str(runs / "20260101-1200-first"), runs) == expected
    assert find_adapter(str(expected), runs) == expected
    elsewhere = make_adapter(tmp_path / "elsewhere")
    assert find_adapter(str(elsewhere), runs) == elsewhere
    monkeypatch.chdir(tmp_path)
    assert find_adapter("elsewhere", runs) == Path("elsewhere")


def test_a_folder_here_without_adapter_does_not_hide_the_run_of_its_name(
    runs, tmp_path, monkeypatch
):
    (tmp_path / "20260101-1200-first").mkdir()
    monkeypatch.chdir(tmp_path)
    assert find_adapter("20260101-1200-first", runs) == runs / "20260101-1200-first" / "adapter"


def test_unknown_name_is_suggested(runs):
    with pytest.raises(ModelError) as caught:
        find_adapter("20260101-1200-frist", runs)
    assert "Did you mean 20260101-1200-first?" in caught.value.hint
    assert caught.value.exit_code == 4
    with pytest.raises(ModelError) as caught:
        find_adapter("second", runs)
    assert "Did you mean 20260102-1200-second?" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["..", "../outside", ".", "", "a/../../outside", "nul\0", "x" * 5000]
)
def test_names_never_leave_the_runs(runs, name, monkeypatch):
    make_adapter(runs.parent / "outside")
    (runs.parent / "cwd").mkdir()
    monkeypatch.chdir(runs.parent / "cwd")
    if name == "../outside":  # as a path from here it is a folder the user named
        assert find_adapter(name, runs) == Path("../outside")
        monkeypatch.chdir(runs)
        (runs / "deep").mkdir()
        monkeypatch.chdir(runs / "deep")
    with pytest.raises(ModelError):
        find_adapter(name, runs)


def test_a_run_that_is_a_link_to_somewhere_else_is_not_taken_by_name(runs):
    outside = make_adapter(runs.parent / "outside")
    (runs / "linked").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ModelError):
        find_adapter("linked", runs)


@pytest.mark.parametrize("content", ["../outside", "", "\x00", "a b", "/etc", "two\nnames"])
def test_a_bad_pointer_is_an_error(runs, content):
    make_adapter(runs.parent / "outside")
    (runs / "latest").write_text(content)
    with pytest.raises(ModelError, match="latest"):
        find_adapter(None, runs)


@pytest.mark.parametrize("name", ["20260103-1200-unfinished", "vanished"])
def test_newest_run_without_adapter_is_an_error_not_a_silent_zero_shot(runs, name):
    (runs / "latest").write_text(name)
    with pytest.raises(ModelError, match=name):
        find_adapter(None, runs)
