"""experiment.json: the stages that were begun, their results, and whose each ledger entry is."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lvlora import __version__, durable, folders
from lvlora.answers import NOTHING, Price, Shape
from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.experiment.answers import Result
from lvlora.experiment.settings import Stage
from lvlora.flops import process_lock
from lvlora.flops.ledger import FILE_NAME, Ledger
from lvlora.flops.rows import Row

FILE = "experiment.json"
_ENTRIES = (FILE, "report.html")
_AGAIN = "Take it from a copy, or give the experiment another --out."
_LONGEST = 2**30


class Session(Shape):
    """A process that worked on a stage: its entries come after ``after``, up to ``last``."""

    process: str
    after: int
    last: int | None = None


class StageRecord(Shape):
    """A stage that was begun."""

    settings: dict[str, Any]
    """Those that decide its result, with its command and the hash of the data."""
    flops_at_most: Price
    seconds: float = Field(default=0.0, ge=0)
    sessions: tuple[Session, ...] = Field(default=(), strict=False)
    found: Result | None = None
    """Null until the stage is done."""


class _File(Shape):
    schema_version: Literal[1]
    lvlora_version: str
    stages: dict[str, StageRecord]


@dataclass
class Record:
    """The folder of an experiment and its stages that were begun."""

    folder: Path
    stages: dict[str, StageRecord] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, stages: Sequence[Stage], data_sha256: str) -> Record:
        """Return the record in a folder; an empty one where there is none.

        Raises:
            DataError: the file is damaged.
            SettingsError: a stage was begun with other settings or data. Its max_flops may change
                until it is done.
        """
        record = cls(folder)
        file = folder / FILE
        if file.exists():
            facts = durable.read_json_object(file, _LONGEST, hint=_AGAIN)
            try:
                record.stages = _File.model_validate(facts).stages
            except ValidationError as error:
                wrong = error.errors(include_url=False, include_input=False)[0]
                place = ".".join(map(str, wrong["loc"]))
                raise DataError(f"{file}: {place}: {wrong['msg']}", _AGAIN) from None
        for stage in stages:
            record._check(stage, data_sha256)
        return record

    def is_done(self, name: str) -> bool:
        """Whether a stage has its result."""
        return name in self.stages and self.stages[name].found is not None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the folder for this process; it is made if it is not there.

        Raises:
            SettingsError: it is something else's.
            LvloraError: another process works on the experiment, or nothing can be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LvloraError(
                f"--out {self.folder}: cannot be made ({error.strerror or error})",
                "Choose another folder.",
            ) from None
        folders.claim("--out", self.folder, "experiment", _ENTRIES)
        busy = LvloraError(
            f"another process makes the experiment in {self.folder}",
            "Wait for it, or stop it first.",
        )
        with folders.held(self.folder, busy):
            yield

    @contextlib.contextmanager
    def session(self, stage: Stage, data_sha256: str, at_most: Price) -> Iterator[None]:
        """Note that this process works on a stage inside the block, and for how long."""
        record = self.stages.get(stage.name)
        if record is None:
            record = StageRecord(settings={}, flops_at_most=at_most)
        name, last_entry, begin = stage.name, self._last_entry(), time.perf_counter()
        # sessions of killed processes ended before this one began
        earlier = [s.model_copy(update={"last": s.last or last_entry}) for s in record.sessions]
        session = Session(process=_process_in(process_lock.this_process()), after=last_entry)
        settings = _deciding(stage, data_sha256)
        self.stages[name] = record
        self._update(name, settings=settings, sessions=(*earlier, session))
        try:
            yield
        finally:
            session = session.model_copy(update={"last": self._last_entry()})
            seconds = record.seconds + time.perf_counter() - begin
            self._update(name, seconds=seconds, sessions=(*earlier, session))

    def finish(self, name: str, result: Result) -> None:
        """Keep the result of a stage."""
        self._update(name, found=result)

    def entries(self) -> list[Row]:
        """Every entry of the folder's ledger."""
        if not (self.folder / FILE_NAME).exists():
            return []
        with Ledger.for_runs(self.folder, create=False, reading=True) as ledger:
            return ledger.rows()

    def spent_on(self, name: str, entries: Sequence[Row]) -> Price:
        """Sum a stage's own entries of the ledger: those of its processes while they worked on it.

        Other commands may spend in the same ledger meanwhile.
        """
        sessions = () if name not in self.stages else self.stages[name].sessions
        processes = {session.process for session in sessions}  # one that resumes holds the entry
        charged = [
            row.charged
            for row in entries
            if _process_in(row.holder) in processes
            and any(s.after < row.id and (s.last is None or row.id <= s.last) for s in sessions)
        ]
        return sum(charged, NOTHING)

    def _check(self, stage: Stage, data_sha256: str) -> None:
        record = self.stages.get(stage.name)
        if record is None:
            return
        then, now = record.settings, _deciding(stage, data_sha256)
        free = {"max_flops"} if record.found is None else set()
        different = [
            f"{name} ({then.get(name)} then, {now.get(name)} now)"
            for name in {**then, **now}
            if name not in free and then.get(name) != now.get(name)
        ]
        if different:
            raise SettingsError(
                f"stage {stage.name} was begun with other settings: {', '.join(different)}",
                "Take them back, or give the experiment another --out.",
            )

    def _last_entry(self) -> int:
        return max((row.id for row in self.entries()), default=0)

    def _update(self, name: str, **changes: Any) -> None:
        self.stages[name] = self.stages[name].model_copy(update=changes)
        content = _File(schema_version=1, lvlora_version=__version__, stages=self.stages)
        durable.write_text(self.folder / FILE, content.model_dump_json(indent=1) + "\n")


def _deciding(stage: Stage, data_sha256: str) -> dict[str, Any]:
    """Return all that decides a stage's result, as it is read again from JSON."""
    settings = stage.settings.deciding("result", "model", "limit")
    as_read: dict[str, Any] = json.loads(
        json.dumps({"command": stage.command, **settings, "data": data_sha256})
    )
    return as_read


def _process_in(holder: str) -> str:
    """Return the process in a ledger's holder, which ends with a part for the moment."""
    return holder.rpartition(":")[0]
