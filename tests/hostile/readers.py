"""Every reader that meets files of strangers, as a function of one file's bytes.

Knows: which file is replaced, what is read, and what stands beside it. Does not know: limits,
mutations.
"""

import contextlib
import copy
import io
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import ledgers

from lvlora.errors import LvloraError

CORPUS = Path(__file__).parent / "corpus"

Read = Callable[[], object]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: also of its folder of seeds.
        prepare: given a folder to work in, where the bytes go and what reads them.
        words: what a mutation may write into its files.
    """

    name: str
    prepare: Callable[[Path], tuple[Path, Read]]
    words: tuple[bytes, ...] = ()

    def seeds(self) -> list[bytes]:
        """The well-formed files that mutations begin from."""
        files = sorted((CORPUS / self.name).iterdir())
        assert files, f"no seeds for {self.name}"
        return [file.read_bytes() for file in files]

    def reading(self, folder: Path) -> Callable[[bytes], object]:
        """What reads some bytes as such a file; in a child, after `prepare` in its parent."""
        target, read = self.prepare(folder)

        def run(content: bytes) -> object:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            return read()

        return run


def _data(suffix: str) -> Callable[[Path], tuple[Path, Read]]:
    def prepare(folder: Path) -> tuple[Path, Read]:
        import h5py  # noqa: F401
        import pyarrow.parquet  # noqa: F401

        from lvlora.data.files import read_dataset
        from lvlora.settings.shared import InputSettings

        target = folder / f"f{suffix}"
        settings = InputSettings()

        def read() -> object:
            dataset = read_dataset(target, settings)
            assert len(dataset) >= 1
            for series in dataset:
                assert len(series.time) == len(series.values) >= 2
                assert abs(series.time).max() <= 1e100
                assert not (abs(series.values) > 1e100).any()
            return dataset

        return target, read

    return prepare


def _tiny_base() -> object:
    """A model of a few thousand numbers, loaded from the corpus."""
    import torch

    from lvlora.model.catalogue import ModelSource
    from lvlora.model.devices import Placement
    from lvlora.model.loading import load

    source = ModelSource("gguf", "tiny", str(CORPUS / "gguf" / "tiny.gguf"))
    return load(source, Placement(torch.device("cpu"), torch.float32, "for tests"))


def _adapter(file: str) -> Callable[[Path], tuple[Path, Read]]:
    def prepare(folder: Path) -> tuple[Path, Read]:
        from lvlora.model import adapters

        base = _tiny_base()
        for name in ("adapter_config", "safetensors"):
            seed = sorted((CORPUS / name).iterdir())[0]
            shutil.copyfile(
                seed, folder / {"adapter_config": adapters.CONFIG}.get(name, adapters.WEIGHTS)
            )

        def read() -> object:
            return adapters.attach(copy.deepcopy(base), adapters.read_info(folder))

        return folder / file, read

    return prepare


def _gguf(folder: Path) -> tuple[Path, Read]:
    from lvlora.model.catalogue import ModelSource
    from lvlora.model.loading import load

    placement = _tiny_base().placement
    target = folder / "m.gguf"
    os.environ["HF_HOME"] = str(folder)  # what is made of it is kept nowhere else
    return target, lambda: load(ModelSource("gguf", "m", str(target)), placement)


def _toml(folder: Path) -> tuple[Path, Read]:
    from lvlora.errors import SettingsError
    from lvlora.settings.configuration import resolve
    from lvlora.sweep.settings import SweepSettings
    from lvlora.sweep.space import read_space
    from lvlora.train.settings import TrainSettings

    target = folder / "f.toml"
    commands = {"train": TrainSettings, "sweep": SweepSettings}

    def read() -> object:
        with contextlib.suppress(SettingsError):
            read_space(target)
        return resolve(
            "train", TrainSettings, flags={}, environment={}, config=str(target), commands=commands
        )

    return target, read


def _ledger(folder: Path) -> tuple[Path, Read]:
    from lvlora.flops.ledger import Ledger

    target = folder / "ledger.sqlite"

    def read() -> object:
        for beside in folder.glob("ledger.sqlite-*"):
            beside.unlink()
        with Ledger(target) as ledger:
            table = ledger.table()
            ledgers.settle(ledger, ledgers.reserve(ledger, 1, 1), 1, 1)
        return table

    return target, read


def _study(folder: Path) -> tuple[Path, Read]:
    target = folder / "sweep" / "study.journal"
    args = ["sweep", "--status", "--study", "sweep", "--runs", str(folder), "--json"]
    target.parent.mkdir()
    target.write_bytes(READERS["study"].seeds()[0])
    command(args)  # imports
    return target, lambda: command(args)


def _run(file: str) -> Callable[[Path], tuple[Path, Read]]:
    """A run's own files, which `report` and `train --resume` read."""

    def prepare(folder: Path) -> tuple[Path, Read]:
        from lvlora.train.document import read_run

        shutil.copytree(CORPUS.parent / "run", folder / "run")

        def read() -> object:
            record = read_run(folder / "run")
            return record.summary.model_dump()

        return folder / "run" / file, read

    return prepare


class Refused(LvloraError):
    """A command refused, in its own words."""


def command(args: list[str]) -> str:
    """Run the program in this process.

    Raises:
        Refused: it ended with an error of its own.
        AssertionError: it ended with one that nobody foresaw.
    """
    from lvlora.cli.program.app import main

    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(args)
    message = err.getvalue()
    assert "Traceback" not in message, message
    assert "unforeseen" not in message, message
    assert "not enough memory" not in message, message
    if code:
        assert out.getvalue() == "", "a partial output"
        assert "Error: " in message, message
        refused = Refused(message.replace("\n", " "))
        refused.exit_code = code
        raise refused
    return out.getvalue()


_NUMBERS = (
    *b"1e400 -1e400 NaN inf -0 1_0 0x1".split(),
    b"9" * 400,
    *b"1e-400 18446744073709551616 -9223372036854775809 1,5".split(),
    "١٢".encode(),
)
_TEXT = (
    *(b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\r\n", b"\t", b'"', b"'", b"\\", b"=cmd"),
    *(b"\x1b[31m", "\u202e".encode(), b"../../etc/passwd", b"a" * 300),
)
_JSON = (
    *_NUMBERS,
    *b'null true [] {} [[ { } ""'.split(),
    b"[" * 2000,
    *b'-1 1e308 "q_proj" "(a+)+$" "all-linear" 0.5'.split(),
)
_TOML = (*b"[ ] = { }".split(), b"[[train]]\n", b"rank = ", *b'low 1979-05-27 """ true'.split())

READERS: dict[str, Reader] = {
    reader.name: reader
    for reader in (
        Reader("csv", _data(".csv"), (*_NUMBERS, *_TEXT, b";", b",", b"id,time,x\n")),
        Reader("hdf5", _data(".h5"), (b"trajectories", b"time", b"id", b"OHDR", b"TREE", b"SNOD")),
        Reader("parquet", _data(".parquet"), (b"PAR1",)),
        Reader("safetensors", _adapter("adapter_model.safetensors"), _JSON),
        Reader("gguf", _gguf, (b"general.architecture", b"llama.block_count", b"tokenizer.ggml")),
        Reader("adapter_config", _adapter("adapter_config.json"), _JSON),
        Reader("toml", _toml, (*_NUMBERS, *_TEXT, *_TOML, b"x = 1\n")),
        Reader("ledger", _ledger, (b"SQLite format 3", b"open", b"settled", b"CREATE TABLE")),
        Reader("study", _study, (*_JSON, *_TEXT)),
        Reader("metrics", _run("metrics.jsonl"), (*_JSON, *_TEXT)),
    )
}
