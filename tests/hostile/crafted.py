"""Bad files, each bad in one way that somebody thought of; mutations find the others.

Knows: formats and how to break them. Does not know: how lvlora reads them.
"""

import io
import json
import math
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from hostile.readers import CORPUS

PICKLE, ZIP = b"\x80\x04cos\nsystem\n(S'touch pwned'\ntR.", b"PK\x03\x04" + bytes(40)
NOISE = b"[" * 100_000, b"\0" * 10, b"\xff\xfe{}", PICKLE
Case = tuple[str, bytes, str]
"""Name, content, and the words of the refusal that say what is wrong and where."""


def _text(cases: dict[str, tuple[str | bytes, str]]) -> Iterator[Case]:
    for name, (content, reason) in cases.items():
        yield name, content if isinstance(content, bytes) else content.encode(), reason


def _plain(*contents: str | bytes, reason: str = "") -> Iterator[Case]:
    """Files that are named by how they begin."""
    for number, content in enumerate(contents):
        name = f"{number}: {content[:40]!r}"
        yield name, content if isinstance(content, bytes) else content.encode(), reason


def csv_files() -> Iterator[Case]:
    wide = "time,prey,predator\n0,1.5,0.5\n1,1.6,\n2,1.7,0.7\n"
    yield from _text(
        {
            "empty": ("", "empty"),
            "blank lines": (" \n\n\r\n", "empty"),
            "only quotes": ('""\n', "empty"),
            "header only": ("time,prey\n", "no row"),
            "one row": ("time,prey\n0,1\n", "only 1 row"),
            "one row of a series": (
                "id,time,x\na,0,1\na,1,1\nb,0,1\n",
                "series 'b' has only 1 row",
            ),
            "no header": ("0,1,2\n1,2,3\n", "row 1: values"),
            "ragged short": ("time,prey\n0,1\n1\n2,3\n", "row 3: 1 fields"),
            "ragged long": ("time,prey\n0,1\n1,2,\n", "row 3: 3 fields"),
            "text": ("time,prey\n0,1\n1,many\n", "row 3, column 'prey': 'many' is not a number"),
            "text as time": ("time,prey\n0,1\n1900-01-01,2\n", "row 3, column 'time'"),
            "inf": ("time,prey\n0,1\n1,inf\n", "row 3, column 'prey' ('inf')"),
            "-Infinity": ("time,prey\n0,1\n1,-Infinity\n", "infinite"),
            "1e400": ("time,prey\n0,1\n1,1e400\n", "row 3, column 'prey' ('1e400')"),
            "1e101": ("time,prey\n0,1\n1,1e101\n", "beyond the limit"),
            "underscore": ("time,prey\n0,1\n1,1_000\n", "'1_000' is not a number"),
            "other digits": ("time,prey\n0,1\n1,١٢\n", "row 3"),
            "hexadecimal": ("time,prey\n0,1\n1,0x10\n", "row 3"),
            "comma in comma file": ('time,prey\n0,1\n1,"1,5"\n', "'1,5' is not a number"),
            "both decimal marks": ("time;prey\n0;1.5\n1;1,5\n", "row 3, column 'prey'"),
            "thousands": ("time;prey\n0;1\n1;1.000,5\n", "row 3"),
            "time twice": ("time,prey\n0,1\n1,2\n1.0,3\n", "row 4, column 'time': time 1"),
            "time twice in a series": (
                "id,t,x\na,0,1\nb,0,1\nb,1,1\na,0,2\n",
                "of series 'a' is already in",
            ),
            "no time": ("time,prey\n0,1\n,2\n", "row 3, column 'time': the time is missing"),
            "infinite time": ("time,prey\n0,1\ninf,2\n", "row 3, column 'time'"),
            "no id": ("id,time,x\na,0,1\n,1,2\n", "row 3, column 'id': the id is empty"),
            "name twice": ("time,x,x\n0,1,2\n1,2,3\n", "2 columns are named 'x'"),
            "no name": ("time,x,\n0,1,2\n1,2,3\n", "the name of column 3 is empty"),
            "nothing but time": ("time\n0\n1\n", "no column is left"),
            "huge field": (f"time,x\n0,1\n1,{'9' * 1000}\n", "row 3, column 'x'"),
            "huger field": ('time,x\n0,1\n1,"' + "9\n" * 200_000, "field"),
            "endless field": ("time,x\n0,1\n1," + "9" * 2_000_000, "row 3: longer than"),
            "long name": (f"time,{'x' * 300}\n0,1\n1,2\n", "300 characters"),
            "many columns": (",".join(f"x{i}" for i in range(20_000)) + "\n", "20,000 columns"),
            "many variables": (",".join(f"x{i}" for i in range(2000)) + "\n", "2,000 variables"),
            "open quote": ('time,x\n0,1\n1,"2\n', "row 3"),
            "after a quote": ('time,x\n0,1\n1,"2"3\n', "row 3"),
            "tab after a quote": ('time\tx\n0\t"1"2\n1\t2\n', "row 2"),
            "escape in a name": ("time,\x1b[31mx\n0,1\n1,2\n", "unprintable"),
            "escape": ("time,x\n0,1\n1,\x1b]0;t\x07\n", r"'\x1b]0;t\x07'"),
            "NUL": (b"time,x\n0,1\n1,\0\n", "row 3: binary"),
            "latin-1": ("time,x\n0,1\n1,é\n".encode("latin-1"), "row 3: byte 3 is not UTF-8"),
            "UTF-16": (wide.encode("utf-16"), "not UTF-8"),
            "UTF-16 without mark": (wide.encode("utf-16-le"), "binary"),
            "right to left": ("time,\u202ex\n0,1\n1,2\n", "unprintable"),
            "spaces": ("time prey\n0 1\n1 2\n", "not a number"),
            "spreadsheet formula": ("time,x\n0,1\n1,=1+1\n", "'=1+1' is not a number"),
        }
    )
    yield from _plain(
        wide.encode("utf-32"), PICKLE, b"%PDF-1.7\n1 0 obj\n<<>>\n", ZIP, '{"t": [0]}\n'
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

    def linked(file: Any) -> None:
        file["x"] = data
        file["trajectories"] = h5py.SoftLink("/x")

    def ring(file: Any) -> None:
        file["a"] = h5py.SoftLink("/trajectories")
        file["trajectories"] = h5py.SoftLink("/a")

    def named(*names: str) -> Callable[[Any], None]:
        def fill(file: Any) -> None:
            file["trajectories"] = data
            file["trajectories"].attrs["variables"] = np.array(names, dtype="S")

        return fill

    def named_at_any_length(file: Any) -> None:
        file["trajectories"] = data
        file["trajectories"].attrs["variables"] = ["a", "b"]

    def elsewhere(file: Any) -> None:
        file["data/x"] = data
        file["y"] = np.zeros(3)
        file["link"] = h5py.SoftLink("/y")

    infinite = data.copy()
    infinite[1, 2, 0] = np.inf
    for name, (fill, reason) in {
        "8 PiB": (declared((2**40, 2**9, 2), chunks=(1, 512, 2)), "declares 1,125,899,906,842,624"),
        "a number as time": (beside(time=0), ""),
        "declared": (declared((10_000, 1000, 2)), "stores 0"),
        "declared and packed": (
            declared((10_000, 1000, 2), chunks=True, compression=9),
            "stores 0",
        ),
        "huge chunk": (
            declared((3, 4, 2), chunks=(2**14, 2**13, 2), maxshape=(None, None, None)),
            "declares 268,435,456 values",
        ),
        "external storage": (
            declared((3, 4, 2), external=[("/etc/passwd", 0, 192)]),
            "in other files",
        ),
        "external link": (alone(h5py.ExternalLink("/etc/passwd", "/x")), "soft or external link"),
        "ring of links": (ring, "soft or external link"),
        "soft link": (linked, "soft or external link"),
        "virtual": (virtual, "in other files"),
        "nothing": (lambda file: None, "it has nothing"),
        "another layout": (elsewhere, "no /trajectories; it has /data, /link, /y"),
        "infinite": (alone(infinite), "series 1, step 2, variable 0: the value is infinite"),
        "rank 1": (alone(data[0, 0]), "1 dimensions"),
        "rank 5": (alone(data[None, None]), "5 dimensions"),
        "scalar": (alone(1.0), "0 dimensions"),
        "no dataspace": (alone(h5py.Empty("f8")), "no dimensions"),
        "words": (alone(np.full((3, 4, 2), b"x")), "not real numbers"),
        "complex": (alone(data + 1j), "not real numbers"),
        "compound": (alone(np.zeros((3, 4, 2), [("a", "f8")])), "not real numbers"),
        "references": (declared_as(h5py.ref_dtype), "not real numbers"),
        "no series": (alone(data[:0]), "shape"),
        "one step": (alone(data[:, :1]), "(3, 1, 2)"),
        "no variable": (alone(data[:, :, :0]), "shape"),
        "many variables": (alone(np.ones((1, 2, 2000))), "1,000 variables"),
        "group": (lambda file: file.create_group("trajectories"), "not a dataset"),
        "time twice": (beside(time=[0.0, 1, 1, 2]), "does not increase"),
        "no times": (beside(time=[0.0, np.nan, 1, 2]), "missing, infinite"),
        "infinite time": (beside(time=[0.0, 1, 2, np.inf]), "missing, infinite"),
        "long time": (beside(time=np.arange(5.0)), "shape (5,)"),
        "words as time": (beside(time=np.array([b"a", b"b", b"c", b"d"])), "is not a number"),
        "ids twice": (beside(id=[1, 2, 1]), "/id has '1' twice"),
        "few ids": (beside(id=[1, 2]), "/id has 2 names instead of 3"),
        "an empty id": (beside(id=np.array([b"a", b"", b"c"])), "name 1 of /id is empty"),
        "numbers with a point as ids": (beside(id=[1.0, 2.0, 3.0]), "type float64"),
        "ids by link": (beside(id=h5py.ExternalLink("x.h5", "/y")), "soft or external link"),
        "lists as ids": (lists, ""),
        "ids of any length": (beside(system_id=["a", "b", "c"]), 'dtype="S"'),
        "names of any length": (named_at_any_length, "variables has texts of variable length"),
        "escape in an id": (beside(id=np.array([b"a", b"\x1b[0m", b"c"])), "unprintable"),
        "one name for two": (named("a"), "has 1 names instead of 2"),
        "a name twice": (named("a", "a"), "has 'a' twice"),
        "an empty name": (named("a", ""), "is empty"),
    }.items():
        yield name, _hdf5(fill), reason
    reference = (CORPUS / "hdf5" / "plain.h5").read_bytes()
    for cut in (8, 96, 500, len(reference) // 2, len(reference) - 100, len(reference) - 1):
        yield f"cut at {cut}", reference[:cut], ""
    damaged = bytearray(_hdf5(beside(system_id=["a", "b", "c"])))
    heap = damaged.index(b"GCOL")
    damaged[heap + 16 : heap + 32] = bytes(16)
    yield "a heap without end", bytes(damaged), "variable length"


def parquet_files() -> Iterator[Case]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def table(**columns: Any) -> bytes:
        memory = io.BytesIO()
        pq.write_table(pa.table(columns), memory)
        return memory.getvalue()

    yield "words", table(time=[0, 1], x=["a", "b"]), "row 1, column 'x': 'a' is not a number"
    yield "words as times", table(time=["a", "b"], x=[1, 2]), "row 1, column 'time'"
    yield "numbers with a point as ids", table(id=[1.0] * 2, time=[0, 1], x=[1, 2]), "not ids"
    stamps = pa.array([0, 1], pa.timestamp("s"))
    yield "times as values", table(time=[0, 1], x=stamps), "something else than numbers"
    yield "infinite", table(time=[0, 1], x=[1.0, np.inf]), "row 2, column 'x'"
    yield "one row", table(time=[0], x=[1]), "only 1 row"
    yield "no row", table(time=pa.array([], "f8"), x=pa.array([], "f8")), "no row"
    yield "no time", table(time=[0, None], x=[1, 2]), "row 2, column 'time'"
    yield "no id", table(id=["a", None], time=[0, 1], x=[1, 2]), "an id is missing"
    yield "lists", table(time=[0, 1], x=[[1], [2]]), "not numbers"
    yield "durations", table(time=pa.array([0, 1], pa.duration("s")), x=[1, 2]), ""
    yield "time twice", table(time=[3, 3], x=[1, 2]), "row 2, column 'time': time 3"
    yield "structs", table(time=[0, 1], x=[{"a": 1}, {"a": 2}]), ""
    yield "bytes as ids", table(id=[b"a", b"a"], time=[0, 1], x=[1, 2]), ""
    reference, marks = table(time=list(range(9)), x=list(range(9))), b"PAR1"
    footers = (struct.pack("<i", length) for length in (2**31 - 1, -1))
    yield from _plain(
        *(
            marks + reference[-200:],
            *(reference[:-8] + footer + marks for footer in footers),
            marks * 2,
        ),
        *(
            reference[:4] + reference[40:],
            marks + bytes(100) + marks,
            reference[:-10],
            reference[:50],
        ),
    )


def _safetensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


HEAD = "base_model.model.lm_head.weight"


def safetensors_files() -> Iterator[Case]:
    from safetensors.torch import load, save

    reference = (CORPUS / "safetensors" / "plain.safetensors").read_bytes()
    first = min(load(reference))

    def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
        tensors = load(reference)
        change(tensors)
        return save(tensors)

    entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    yield from _plain(b"", _safetensors(b"{}", length=2**62), reference[:-1], reason="safetensors")
    yield from _plain(
        *(
            struct.pack("<Q", 0),
            _safetensors(b"{}", length=2**64 - 1),
            reference + b"\0",
            PICKLE,
            ZIP,
        ),
        *map(_safetensors, (b"{]", b"[" * 100_000, b'{"\xff": 1}', [1])),
        _safetensors({"a": {"dtype": "F32", "shape": [4]}}, bytes(16)),
        _safetensors({"a": entry, "b": entry}, bytes(16)),
        _safetensors({"a": entry}, bytes(16)),
        _safetensors({"a": {**entry, "data_offsets": [8, 24]}}, bytes(24)),
    )
    for name, changes in {
        "over the end": {"data_offsets": [0, 2**40]},
        "backwards": {"data_offsets": [16, 0]},
        "overflow": {"shape": [2**40, 2**40]},
        "negative": {"shape": [-4]},
        "unknown type": {"dtype": "PICKLE"},
    }.items():
        yield name, _safetensors({"a": {**entry, **changes}}, bytes(16)), ""
    yield "a key missing", changed(lambda t: t.pop(first)), "lacks "
    yield (
        "a key too many",
        changed(lambda t: t.update({"x": next(iter(t.values())).clone()})),
        "unexpected",
    )
    yield "another shape", changed(lambda t: t.update({first: t[first][:1].clone()})), "shape"
    yield "turned", changed(lambda t: t.update({first: t[first].T.contiguous()})), "shape"
    yield "whole numbers", changed(lambda t: t.update({first: t[first].int()})), "not finite"
    yield "not a number", changed(lambda t: t[first].fill_(float("nan"))), "not finite"
    yield "infinite", changed(lambda t: t[first].fill_(float("-inf"))), "not finite"
    magnitudes = first.replace("lora_A.weight", "lora_magnitude_vector")
    yield "DoRA", changed(lambda t: t.update({magnitudes: t[first][0].clone()})), "unexpected"
    another_axis = changed(lambda t: t.update({first: t[first][..., None].clone()}))
    yield "another axis", another_axis, "shape"
    yield "no key at all", changed(lambda t: t.clear()), "more)"
    yield "a head", changed(lambda t: t.update({HEAD: t[first].clone()})), "lm_head"


def adapter_configs() -> Iterator[Case]:
    plain = json.loads((CORPUS / "adapter_config" / "plain.json").read_text())
    for reason, *changed in (
        ("IA3", {"peft_type": "IA3"}),
        ("not LORA", {"peft_type": None}, {"peft_type": ["LORA"]}),
        ("r is ", {"r": 0}, {"r": -1}, {"r": 10**15}, {"r": "many"}, {"r": None}, {"r": 1e400}),
        ("shape", {"r": 8}),
        ("lora_alpha is", {"lora_alpha": "x"}, {"lora_alpha": math.nan}, {"lora_alpha": [1]}),
        ("target_modules", *({"target_modules": names} for names in (None, [], 3, {"a": 1}))),
        ("no linear layer", {"target_modules": ["nothing"]}),
        ("regular expression", {"target_modules": "(a+)+$"}, {"target_modules": ".*" * 30}),
        ("regular expression", {"target_modules": "x{99999999}"}),
        ("not valid", {"target_modules": "("}),
        ("unexpected", {"target_modules": ["q_proj"]}),
        ("lacks ", {"target_modules": ["q_proj", "v_proj", "o_proj"]}),
        ("regular expression", {"rank_pattern": {"(?:.|.)*[0-9]": 2}}),
        ("regular expression", {"alpha_pattern": {"(?:.|.)*[0-9]": 2}}),
        ("at most 1000", {"rank_pattern": {f"x{i}": 2 for i in range(20_000)}}),
        ("rank_pattern is", {"rank_pattern": [1]}),
        ("rank_pattern.q_proj is 0", {"rank_pattern": {"q_proj": 0}}),
        ("alpha_pattern.v_proj", {"alpha_pattern": {"v_proj": "x"}}),
        ("no linear layer", {"layers_to_transform": [7]}),
        ("layers_to_transform", {"layers_to_transform": [0, "x"]}),
        ("layers_pattern", {"layers_pattern": "h"}),
        ("use_dora", {"use_dora": True}),
        (r"task\x7ftype", {"task\x7ftype": "x"}),
        ("lora_bias", {"lora_bias": True}),
        ("bias", {"bias": "all"}),
        ("fan_in_fan_out", {"fan_in_fan_out": True}),
        ("embed_tokens", {"modules_to_save": ["embed_tokens"]}),
        ("lacks lm_head.weight", {"modules_to_save": ["lm_head"]}),
        ("", {"modules_to_save": "lm_head"}),
        ("trainable_token_indices", {"trainable_token_indices": [1]}),
        ("init_lora_weights", {"init_lora_weights": "pissa"}, {"init_lora_weights": "loftq"}),
        ("layer_replication", {"layer_replication": [[0, 9]]}),
        ("exclude_modules", {"exclude_modules": "q"}),
    ):
        for changes in changed:
            yield json.dumps(changes)[:60], json.dumps({**plain, **changes}).encode(), reason
    yield from _plain(
        *("", "[]", "3", "{", b" " * 11_000_000 + b"{}", '{"r": ' + "9" * 5000 + "}", *NOISE),
        reason="adapter_config.json",
    )


def gguf_files() -> Iterator[Case]:
    reference = (CORPUS / "gguf" / "tiny.gguf").read_bytes()

    def at(place: int, form: str, value: int) -> bytes:
        return (
            reference[:place]
            + struct.pack(form, value)
            + reference[place + struct.calcsize(form) :]
        )

    numbers = ((4, "<I", 99), (4, ">I", 3), (8, "<Q", 2**60), (16, "<Q", 2**63), (24, "<Q", 2**62))
    kind_of_fact = at(24 + 8 + len("GGUF.version"), "<I", 77)
    yield from _plain(
        *(
            b"",
            b"GGUF",
            b"GGML" + reference[4:],
            *(at(*number) for number in numbers),
            kind_of_fact,
        ),
        *(reference[:n] for n in (30, 200, 1000, len(reference) - 500)),
        reason="m.gguf",
    )
    for name, old, new in (
        ("another architecture", b"llama", b"lloma"),
        ("no layers", b"block_count", b"block_cuont"),
        ("no width", b"embedding_length", b"embedding_lenght"),
        ("no tokens", b"ggml.tokens", b"ggml.tokans"),
        ("no tokenizer", b"tokenizer.ggml.model", b"tokenizer.ggml.madel"),
        ("a tensor missing", b"blk.0.attn_q.weight", b"blk.9.attn_q.weight"),
    ):
        yield name, reference.replace(old, new), "m.gguf"


def toml_files() -> Iterator[Case]:
    yield from _plain(
        *("rank 3", "rank = ", "x = " + "[" * 50_000, "x = " + "{a=" * 20_000, "rnk = 3"),
        *("rank = " + "9" * 5000, "rank = 3\nrank = 4", "max_steps = 3\nmax-steps = 3"),
        *('rank = "many"', "rank = true", "rank = 0", "learning_rate = nan", "max_flops = inf"),
        *('max_flops = "1e999999999"', 'budget = "1e-999999999"', "rank = 1979-05-27"),
        *("[rank]\nx = 1", "[[train]]\nrank = 1", "[trane]\nrank = 1", b"rank = 3\0"),
        *(b'model = "\xff"', "rank = 3".encode("utf-16"), 'rank = "\\u001b[31m"'),
        *("a" * 100_000 + " = 1", "\n".join(f"k{i} = 1" for i in range(3000))),
    )


_SET = "UPDATE entry SET record = json_set(record, '$.{}', {})"


def ledgers() -> Iterator[Case]:
    reference = (CORPUS / "ledger" / "ledger.sqlite").read_bytes()
    for name, statements in {
        "a newer one": ["PRAGMA user_version = 999"],
        "a negative version": ["PRAGMA user_version = -3"],
        "another program's": ["PRAGMA application_id = 7"],
        "no entries": ["DROP TABLE entry"],
        "no budget": ["DROP TABLE budget"],
        "no column": ["ALTER TABLE entry DROP COLUMN record"],
        "a word as count": [_SET.format("spent.executed", "'many'")],
        "a huge count": [_SET.format("spent.executed", f"json('{'9' * 5000}')")],
        "a word as budget": ["UPDATE budget SET record = json_set(record, '$.flops', 'x')"],
        "half a price": [_SET.format("unit", "json('{\"executed\": 1}')")],
        "a view": ["DROP TABLE budget", "CREATE VIEW budget AS SELECT 1"],
    }.items():
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "l.sqlite"
            file.write_bytes(reference)
            db = sqlite3.connect(file)
            for statement in statements:
                db.execute(statement)
            db.commit()
            db.close()
            yield name, file.read_bytes(), ""
    yield from _plain(
        *(
            b"hello\n" * 1000,
            reference[: len(reference) // 2],
            reference[:16] + b"\x00\x03" + reference[18:],
        ),
        *(bytes(100) + reference[100:], reference[:4096] + b"\xaa" * 4096 + reference[8192:]),
    )


def studies() -> Iterator[Case]:
    reference = (CORPUS / "study" / "study.journal").read_bytes()
    changes = {
        "plan lost": (b'"stages"', b'"stagas"'),
        "another plan": (b'"stages":[', b'"stages":[7,'),
        "an older plan": (b'"trials":2,', b""),
        "settings lost": (b'"settings"', b'"sattings"'),
        "unknown setting": (b'"rank"', b'"renk"'),
        "a word as slot": (b'"slot":0', b'"slot":"x"'),
    }
    yield from _text({name: (reference.replace(*change), "") for name, change in changes.items()})
    operations = (
        '{"op_code": 99, "worker_id": "x"}',
        '{"op_code": 4, "worker_id": "x", "study_id": 7}',
    )
    yield from _plain(
        *(f"{line}\n" for line in ("hello\nworld", '{"a": 1}', "[1]", "3", *operations)),
        *(content + b"\n" for content in (*NOISE, b'{"op_code": "\xff"}')),
        reference.split(b"\n", 1)[1],
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
"""Reader → its bad files."""
