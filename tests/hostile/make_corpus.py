"""Write the seeds of the fuzzer again: ``python tests/hostile/make_corpus.py``.

Small well-formed files of every format, with and without what is optional in it.
"""

import json
import shutil
import sqlite3
import sys
from pathlib import Path

import ledgers
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts" / "pretrain"))

from hostile.readers import CORPUS

_VALUES = np.round(np.arange(24).reshape(3, 4, 2) * 0.37 + 1, 2)


def _folder(name: str) -> Path:
    folder = CORPUS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _csv() -> None:
    folder = _folder("csv")
    (folder / "wide.csv").write_text("time,prey,predator\n0,1.5,2\n1,,3\n2,4e-3,NaN\n")
    (folder / "long.csv").write_text('id,time,x\n"a b",0,1\n"a b",1,2\nc,1,3\nc,0,4\n')
    (folder / "semicolons.csv").write_text("\ufefft;x;y\r\n0;1,5;2\r\n1;2,5;3\r\n", newline="")
    (folder / "tabs.csv").write_text("#time\tx\n1900\t30\n1901\t47.2\n")


def _hdf5() -> None:
    import h5py

    folder = _folder("hdf5")
    with h5py.File(folder / "plain.h5", "w") as file:
        file["trajectories"] = _VALUES.astype("f4")
        file["time"] = np.arange(4.0)
    with h5py.File(folder / "packed.h5", "w", libver="latest") as file:
        data = file.create_dataset(
            "trajectories", data=_VALUES, chunks=(1, 4, 2), compression="gzip", shuffle=True
        )
        data.attrs["variables"] = np.array([b"hare", b"lynx"])
        file["time"] = np.tile(np.arange(4.0), (3, 1))
        file["id"] = np.array([b"a", b"b", b"c"])
    with h5py.File(folder / "strings.h5", "w") as file:
        file["trajectories"] = _VALUES.astype("i4")
        file["system_id"] = np.array([b"a", b"b", b"c"])


def _parquet() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = _folder("parquet")
    table = pa.table({"id": ["a", "a", "b", "b"], "time": [0, 1, 0, 1], "x": [1.0, None, 3.0, 4.0]})
    pq.write_table(table, folder / "plain.parquet", compression="none")
    table = table.set_column(0, "id", table["id"].dictionary_encode())
    pq.write_table(table, folder / "packed.parquet", compression="snappy", data_page_version="2.0")


def _gguf() -> None:
    import tiny_models

    from lvlora.text.codec import SYMBOLS

    file = _folder("gguf") / "tiny.gguf"
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 128}
    tiny_models.write_gguf(file, "llama", tokens=SYMBOLS, **sizes)


def _adapters() -> None:
    import torch
    from hostile.readers import _tiny_base
    from safetensors.torch import save_file

    from lvlora.model import adapters, lora
    from lvlora.model.adapters import config_for

    base = _tiny_base()
    plan = lora.LoraPlan(rank=2)
    lora.inject(base.module, plan)
    with torch.no_grad():
        for _, layer in lora.lora_layers(base.module):
            layer.lora_b.normal_(0, 0.1)
    tensors = adapters.adapter_tensors(base.module)
    save_file(tensors, _folder("safetensors") / "plain.safetensors", {"format": "pt"})
    save_file(
        {n: t.half() for n, t in tensors.items()}, CORPUS / "safetensors" / "small.safetensors"
    )
    configs = _folder("adapter_config")
    plain = config_for(plan, "tiny", False)
    (configs / "plain.json").write_text(json.dumps(plain, indent=2))
    other = {
        **plain,
        "target_modules": ["q_proj", "v_proj"],
        "rank_pattern": {"v_proj": 2},
        "alpha_pattern": {"layers.0": 8.0},
        "layers_to_transform": [0],
        "use_rslora": True,
    }
    (configs / "patterns.json").write_text(json.dumps(other))


def _toml() -> None:
    folder = _folder("toml")
    (folder / "flat.toml").write_text(
        'model = "bundled"\nrank = 4\nlearning-rate = 1e-3\ntargets = ["q_proj", "v_proj"]\n'
        "rslora = false\nmax_flops = 1e17\n"
    )
    (folder / "tables.toml").write_text(
        'seed = 3\n[train]\nrank = 2\n[sweep]\ntrials = 3\nstudy = "s"\n'
    )
    (folder / "space.toml").write_text(
        "rank = [2, 4, 8]\nlearning_rate = {low = 1e-5, high = 1e-3, log = true}\n"
    )


def _ledger() -> None:
    from lvlora.answers import Price
    from lvlora.flops.ledger import Ledger

    file = _folder("ledger") / "ledger.sqlite"
    with Ledger(file) as ledger:
        ledger.set_budget(10**18, "executed")
        ledgers.settle(ledger, ledgers.reserve(ledger, 100, 90), 80, 70)
        ledgers.reserve(ledger, 50, 40, "b", unit=Price(5, 4))
    with sqlite3.connect(file) as db:  # no machine's name
        db.execute("UPDATE entry SET record = json_set(record, '$.holder', 'host:1:1:00000000')")


def _run_and_study() -> None:
    import os
    import tempfile

    import tiny_models
    import tiny_runs
    from hostile.readers import command

    run = CORPUS.parent / "run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tiny_models.write(place / "model", "qwen2")
        tiny_runs.write_csv(place / "data.csv", tiny_runs.dataset())
        os.chdir(place)
        (place / "space.toml").write_text("rank = [1, 2]\n")
        flags = "--model model --batch-size 2 --seq-len 48 --max-steps 2 --decimals 1".split()
        flags += ["--dtype", "float32", "--threads", "1"]
        command(["train", "data.csv", *flags, "--out", "runs/r", "--validate-every", "1"])
        for file in ("metrics.jsonl", "config.toml", "data.json"):
            shutil.copyfile(place / "runs/r" / file, run / file)
        shutil.copyfile(run / "metrics.jsonl", _folder("metrics") / "metrics.jsonl")
        command(["sweep", "data.csv", *flags, "--space", "space.toml", "--study", "sweep"])
        journal = (place / "runs/sweep/study.journal").read_text()
        import socket

        (_folder("study") / "study.journal").write_text(
            journal.replace(socket.gethostname(), "host")
        )
        os.chdir("/")


def main() -> None:
    """All of them."""
    _csv()
    _hdf5()
    _parquet()
    _gguf()
    _adapters()
    _toml()
    _ledger()
    _run_and_study()
    for file in sorted(CORPUS.rglob("*")):
        if file.is_file():
            print(f"{file.stat().st_size:8,} {file.relative_to(CORPUS)}")


if __name__ == "__main__":
    main()
