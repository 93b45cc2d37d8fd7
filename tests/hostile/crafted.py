"""Bad files, each bad in one way that somebody thought of; mutations find the others.

Knows: formats and how to break them. Does not know: how lvlora reads them.
"""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hostile.readers import CORPUS

Case = tuple[str, bytes]


def _text(cases: dict[str, str | bytes]) -> Iterator[Case]:
    for name, content in cases.items():
        yield name, content if isinstance(content, bytes) else content.encode()


def csv_files() -> Iterator[Case]:
    wide = "time,prey\n0,1\n1,2\n"
    yield from _text(
        {
            "empty": "",
            "blank": " \n\n\r\n",
            "quotes": '""\n',
            "one row": "time,x\n0,1\n",
            "no row": "time,x\n",
            "no header": "0,1\n1,2\n",
            "ragged": "time,x\n0,1\n1\n",
            "too wide": "time,x\n0,1\n1,2,3\n",
            "word": "time,x\n0,1\n1,many\n",
            "infinite": "time,x\n0,1\n1,inf\n",
            "1e400": "time,x\n0,1\n1,1e400\n",
            "underscore": "time,x\n0,1\n1,1_0\n",
            "arabic digits": "time,x\n0,1\n1,١٢\n",
            "hexadecimal": "time,x\n0,1\n1,0x10\n",
            "time twice": "time,x\n0,1\n0,2\n",
            "no time": "time,x\n0,1\n,2\n",
            "name twice": "time,x,x\n0,1,2\n1,2,3\n",
            "no name": "time,x,\n0,1,2\n1,2,3\n",
            "nothing but time": "time\n0\n1\n",
            "long name": f"time,{'x' * 300}\n0,1\n1,2\n",
            "open quote": 'time,x\n0,1\n1,"2\n',
            "after a quote": 'time,x\n0,1\n1,"2"3\n',
            "tab after a quote": 'time\tx\n0\t"1"2\n1\t2\n',
            "escape in a name": "time,\x1b[31mx\n0,1\n1,2\n",
            "escape": "time,x\n0,1\n1,\x1b]0;t\x07\n",
            "NUL": b"time,x\n0,1\n1,\0\n",
            "latin-1": "time,x\n0,1\n1,é\n".encode("latin-1"),
            "UTF-16": wide.encode("utf-16"),
            "UTF-32": wide.encode("utf-32"),
            "right to left": "time,‮x\n0,1\n1,2\n",
            "both commas": "time;x\n0;1.5\n1;1,5\n",
            "many columns": ",".join(f"x{i}" for i in range(20_000)) + "\n",
            "many variables": ",".join(f"x{i}" for i in range(2_000)) + "\n",
            "endless field": "time,x\n0,1\n1," + "9" * 2_000_000,
            "one short series": "id,time,x\na,0,1\na,1,1\nb,0,1\n",
            "pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
            "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
            "zip": b"PK\x03\x04" + bytes(40),
            "spreadsheet formula": "time,x\n0,1\n1,=1+1\n",
            "JSON": '{"time": [0, 1]}\n',
        }
    )


def _hdf5(fill: Callable[[Any], object]) -> bytes:
    import h5py

    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        fill(file)
    return memory.getvalue()


def hdf5_files() -> Iterator[Case]:
    import h5py

    data = np.ones((3, 4, 2))

    def beside(**others: Any) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            file["trajectories"] = data
            for name, value in others.items():
                file[name] = value

        return fill

    def alone(value: Any) -> Callable[[Any], None]:
        return lambda file: file.__setitem__("trajectories", value)

    def declared(shape: tuple[int, ...], **options: Any) -> Callable[[Any], None]:
        return lambda file: file.create_dataset("trajectories", shape, "f8", **options)

    def declared_as(kind: Any) -> Callable[[Any], None]:
        return lambda file: file.create_dataset("trajectories", (3, 4, 2), kind)

    def virtual(file: Any) -> None:
        layout = h5py.VirtualLayout(shape=(3, 4, 2), dtype="f8")
        layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape=(3, 4, 2))
        file.create_virtual_dataset("trajectories", layout)

    def lists(file: Any) -> None:
        file["trajectories"] = data
        file.create_dataset("id", (3,), h5py.vlen_dtype(np.int32))

    def ring(file: Any) -> None:
        file["a"] = h5py.SoftLink("/trajectories")
        file["trajectories"] = h5py.SoftLink("/a")

    for name, fill in {
        "8 PiB": declared((2**40, 2**9, 2), chunks=(1, 512, 2)),
        "a number as time": beside(time=0),
        "declared": declared((10_000, 1000, 2)),
        "declared and packed": declared((10_000, 1000, 2), chunks=True, compression=9),
        "huge chunk": declared((3, 4, 2), chunks=(2**14, 2**13, 2), maxshape=(None, None, None)),
        "external storage": declared((3, 4, 2), external=[("/etc/passwd", 0, 192)]),
        "external link": alone(h5py.ExternalLink("/etc/passwd", "/x")),
        "ring of links": ring,
        "soft link": alone(h5py.SoftLink("/x")),
        "virtual": virtual,
        "nothing": lambda file: None,
        "infinite": alone(np.full((3, 4, 2), np.inf)),
        "rank 1": alone(data[0, 0]),
        "rank 5": alone(data[None, None]),
        "scalar": alone(1.0),
        "no dataspace": alone(h5py.Empty("f8")),
        "words": alone(np.full((3, 4, 2), b"x")),
        "complex": alone(data + 1j),
        "compound": alone(np.zeros((3, 4, 2), [("a", "f8")])),
        "references": declared_as(h5py.ref_dtype),
        "no series": alone(data[:0]),
        "one step": alone(data[:, :1]),
        "no variable": alone(data[:, :, :0]),
        "many variables": alone(np.ones((1, 2, 2000))),
        "group": lambda file: file.create_group("trajectories"),
        "time twice": beside(time=np.zeros(4)),
        "no times": beside(time=np.full(4, np.nan)),
        "long time": beside(time=np.arange(5.0)),
        "ids twice": beside(id=[1, 1, 2]),
        "few ids": beside(id=[1, 2]),
        "ids by link": beside(id=h5py.ExternalLink("x.h5", "/y")),
        "lists as ids": lists,
        "escape in an id": beside(id=np.array([b"a", b"\x1b[0m", b"c"])),
    }.items():
        yield name, _hdf5(fill)
    whole = (CORPUS / "hdf5" / "plain.h5").read_bytes()
    for cut in (8, 96, 500, len(whole) - 100):
        yield f"cut at {cut}", whole[:cut]
    damaged = bytearray((CORPUS / "hdf5" / "strings.h5").read_bytes())
    heap = damaged.index(b"GCOL")
    damaged[heap + 16 : heap + 32] = bytes(16)
    yield "a heap without end", bytes(damaged)


def parquet_files() -> Iterator[Case]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(**columns: Any) -> bytes:
        memory = io.BytesIO()
        pq.write_table(pa.table(columns), memory)
        return memory.getvalue()

    yield "words", table(time=[0, 1], x=["a", "b"])
    yield "infinite", table(time=[0, 1], x=[1.0, np.inf])
    yield "one row", table(time=[0], x=[1])
    yield "no row", table(time=pa.array([], "f8"), x=pa.array([], "f8"))
    yield "no time", table(time=[0, None], x=[1, 2])
    yield "no id", table(id=["a", None], time=[0, 1], x=[1, 2])
    yield "lists", table(time=[0, 1], x=[[1], [2]])
    yield "durations", table(time=pa.array([0, 1], pa.duration("s")), x=[1, 2])
    yield "time twice", table(time=[0, 0], x=[1, 2])
    yield "structs", table(time=[0, 1], x=[{"a": 1}, {"a": 2}])
    yield "bytes as ids", table(id=[b"a", b"a"], time=[0, 1], x=[1, 2])
    whole = table(time=list(range(9)), x=list(range(9)))
    yield "footer only", b"PAR1" + whole[-200:]
    yield "long footer", whole[:-8] + struct.pack("<i", 2**31 - 1) + b"PAR1"
    yield "negative footer", whole[:-8] + struct.pack("<i", -1) + b"PAR1"
    yield "marks alone", b"PAR1PAR1"
    yield "cut", whole[:-10]


def _safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def safetensors_files() -> Iterator[Case]:
    from safetensors.torch import load, save

    whole = (CORPUS / "safetensors" / "plain.safetensors").read_bytes()
    first = next(iter(load(whole)))

    def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
        tensors = load(whole)
        change(tensors)
        return save(tensors)

    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    yield "empty", b""
    yield "no header", struct.pack("<Q", 0)
    yield "2^62 header", _safetensors(b"{}", length=2**62)
    yield "2^64 header", _safetensors(b"{}", length=2**64 - 1)
    yield "no JSON", _safetensors(b"{]")
    yield "deep JSON", _safetensors(b"[" * 100_000)
    yield "no UTF-8", _safetensors(b'{"\xff": 1}')
    yield "a list", _safetensors([1])
    yield "no offsets", _safetensors({"a": {"dtype": "F32", "shape": [4]}}, bytes(16))
    yield "over the end", _safetensors({"a": {**entry, "data_offsets": [0, 2**40]}}, bytes(16))
    yield "backwards", _safetensors({"a": {**entry, "data_offsets": [16, 0]}}, bytes(16))
    yield "overflow", _safetensors({"a": {**entry, "shape": [2**40, 2**40]}}, bytes(16))
    yield "negative", _safetensors({"a": {**entry, "shape": [-4]}}, bytes(16))
    yield "shared", _safetensors({"a": entry, "b": entry}, bytes(16))
    yield "a gap", _safetensors({"a": {**entry, "data_offsets": [8, 24]}}, bytes(24))
    yield "unknown type", _safetensors({"a": {**entry, "dtype": "PICKLE"}}, bytes(16))
    yield "other keys", _safetensors({"a": entry}, bytes(16))
    yield "a key missing", changed(lambda t: t.pop(first))
    yield "a key too many", changed(lambda t: t.update({"x": next(iter(t.values())).clone()}))
    yield "another shape", changed(lambda t: t.update({first: t[first][:1].clone()}))
    yield "turned", changed(lambda t: t.update({first: t[first].T.contiguous()}))
    yield "whole numbers", changed(lambda t: t.update({first: t[first].int()}))
    yield "not a number", changed(lambda t: t[first].fill_(float("nan")))
    yield "infinite", changed(lambda t: t[first].fill_(float("-inf")))
    yield (
        "DoRA",
        changed(
            lambda t: t.update(
                {first.replace("lora_A.weight", "lora_magnitude_vector"): t[first][0].clone()}
            )
        ),
    )
    yield "cut", whole[:-1]
    yield "trailing bytes", whole + b"\0"
    yield "pickle", b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR."
    yield "zip of pickle", b"PK\x03\x04" + bytes(100)


def adapter_configs() -> Iterator[Case]:
    plain = json.loads((CORPUS / "adapter_config" / "plain.json").read_text())
    for changes in (
        {"peft_type": "IA3"},
        {"peft_type": None},
        {"peft_type": ["LORA"]},
        {"r": 0},
        {"r": -1},
        {"r": 10**15},
        {"r": "many"},
        {"r": None},
        {"r": 1e400},
        {"lora_alpha": "x"},
        {"lora_alpha": float("nan")},
        {"lora_alpha": [1]},
        {"target_modules": None},
        {"target_modules": []},
        {"target_modules": 3},
        {"target_modules": ["nothing"]},
        {"target_modules": "(a+)+$"},
        {"target_modules": "(a|a)*b"},
        {"target_modules": "("},
        {"target_modules": ".*" * 30},
        {"target_modules": "x" * 10_000},
        {"target_modules": {"a": 1}},
        {"rank_pattern": {"(?:.|.)*[0-9]": 2}},
        {"rank_pattern": [1]},
        {"rank_pattern": {"q_proj": 0}},
        {"alpha_pattern": {"v_proj": "x"}},
        {"layers_to_transform": [7]},
        {"layers_to_transform": ["x"]},
        {"layers_pattern": "h"},
        {"use_dora": True},
        {"lora_bias": True},
        {"bias": "all"},
        {"fan_in_fan_out": True},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": "lm_head"},
        {"trainable_token_indices": [1]},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "loftq"},
        {"layer_replication": [[0, 9]]},
        {"exclude_modules": "q"},
    ):
        yield json.dumps(changes)[:60], json.dumps({**plain, **changes}).encode()
    yield from _text(
        {
            "empty": "",
            "a list": "[]",
            "a number": "3",
            "deep": "[" * 100_000,
            "cut": "{",
            "no UTF-8": b"\xff\xfe{}",
            "large": b" " * 11_000_000 + b"{}",
            "NUL": b"\0" * 10,
            "digits": '{"r": ' + "9" * 5000 + "}",
        }
    )


def gguf_files() -> Iterator[Case]:
    whole = (CORPUS / "gguf" / "tiny.gguf").read_bytes()

    def at(place: int, form: str, value: int) -> bytes:
        return whole[:place] + struct.pack(form, value) + whole[place + struct.calcsize(form) :]

    yield "empty", b""
    yield "magic alone", b"GGUF"
    yield "another magic", b"GGML" + whole[4:]
    yield "version 99", at(4, "<I", 99)
    yield "big endian", at(4, ">I", 3)
    yield "2^60 tensors", at(8, "<Q", 2**60)
    yield "2^63 facts", at(16, "<Q", 2**63)
    yield "a word of 2^62", at(24, "<Q", 2**62)
    yield "an unknown kind of fact", at(24 + 8 + len("GGUF.version"), "<I", 77)
    for cut in (30, 200, 1000, len(whole) - 500):
        yield f"cut at {cut}", whole[:cut]
    for name, old, new in (
        ("another architecture", b"llama", b"lloma"),
        ("no layers", b"block_count", b"block_cuont"),
        ("no width", b"embedding_length", b"embedding_lenght"),
        ("no tokens", b"ggml.tokens", b"ggml.tokans"),
        ("no tokenizer", b"tokenizer.ggml.model", b"tokenizer.ggml.madel"),
        ("a tensor missing", b"blk.0.attn_q.weight", b"blk.9.attn_q.weight"),
    ):
        yield name, whole.replace(old, new)


def toml_files() -> Iterator[Case]:
    yield from _text(
        {
            "no TOML": "rank 3",
            "cut": "rank = ",
            "deep": "x = " + "[" * 50_000,
            "deep tables": "x = " + "{a=" * 20_000,
            "digits": "rank = " + "9" * 5000,
            "unknown": "rnk = 3",
            "twice": "rank = 3\nrank = 4",
            "two spellings": "max_steps = 3\nmax-steps = 3",
            "word": 'rank = "many"',
            "true": "rank = true",
            "zero": "rank = 0",
            "nan": "learning_rate = nan",
            "inf": "max_flops = inf",
            "billion digits": 'max_flops = "1e999999999"',
            "billion zeros": 'budget = "1e-999999999"',
            "a date": "rank = 1979-05-27",
            "table": "[rank]\nx = 1",
            "tables": "[[train]]\nrank = 1",
            "unknown table": "[trane]\nrank = 1",
            "NUL": b"rank = 3\0",
            "no UTF-8": b'model = "\xff"',
            "UTF-16": "rank = 3".encode("utf-16"),
            "escape": 'rank = "\\u001b[31m"',
            "long key": "a" * 100_000 + " = 1",
            "many keys": "\n".join(f"k{i} = 1" for i in range(3000)),
        }
    )


def ledgers() -> Iterator[Case]:
    whole = (CORPUS / "ledger" / "ledger.sqlite").read_bytes()
    for name, statements in {
        "a newer one": ["PRAGMA user_version = 999"],
        "a negative version": ["PRAGMA user_version = -3"],
        "another program's": ["PRAGMA application_id = 7"],
        "no entries": ["DROP TABLE entry"],
        "no budget": ["DROP TABLE budget"],
        "no column": ["ALTER TABLE entry DROP COLUMN seconds"],
        "a word as count": ["UPDATE entry SET executed = 'many'"],
        "a huge count": [f"UPDATE entry SET executed = '{'9' * 5000}'"],
        "a word as budget": ["UPDATE budget SET flops = 'x'"],
        "half a price": ["UPDATE entry SET unit_executed = 'x', unit_coursework = '1'"],
        "a view": ["DROP TABLE peak", "CREATE VIEW peak AS SELECT 1"],
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "l.sqlite"
            file.write_bytes(whole)
            db = sqlite3.connect(file)
            for statement in statements:
                db.execute(statement)
            db.commit()
            db.close()
            yield name, file.read_bytes()
    yield "text", b"hello\n" * 1000
    yield "cut", whole[: len(whole) // 2]
    yield "page size 1", whole[:16] + b"\x00\x03" + whole[18:]
    yield "no header", bytes(100) + whole[100:]
    yield "a page of noise", whole[:4096] + b"\xaa" * 4096 + whole[8192:]


def studies() -> Iterator[Case]:
    whole = (CORPUS / "study" / "study.journal").read_bytes()
    yield from _text(
        {
            "no JSON": "hello\nworld\n",
            "another object": '{"a": 1}\n',
            "a list": "[1]\n",
            "a number": "3\n",
            "deep": "[" * 100_000 + "\n",
            "NUL": b"\0" * 50 + b"\n",
            "unknown operation": '{"op_code": 99, "worker_id": "x"}\n',
            "no study": '{"op_code": 4, "worker_id": "x", "study_id": 7}\n',
            "no UTF-8": b'{"op_code": "\xff"}\n',
            "first line lost": whole.split(b"\n", 1)[1],
            "plan lost": whole.replace(b'"stages"', b'"stagas"'),
            "another plan": whole.replace(b'"allotments":[', b'"allotments":[7,'),
            "an older plan": whole.replace(b',"validations":[16,4]', b""),
            "settings lost": whole.replace(b'"settings"', b'"sattings"'),
            "unknown setting": whole.replace(b'"rank"', b'"renk"'),
            "a word as slot": whole.replace(b'"slot":0', b'"slot":"x"'),
            "pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.\n",
        }
    )


CRAFTED: dict[str, Callable[[], Iterator[Case]]] = {
    "csv": csv_files,
    "hdf5": hdf5_files,
    "parquet": parquet_files,
    "safetensors": safetensors_files,
    "adapter_config": adapter_configs,
    "gguf": gguf_files,
    "toml": toml_files,
    "ledger": ledgers,
    "study": studies,
}
"""Reader → its bad files, as (name, content)."""
