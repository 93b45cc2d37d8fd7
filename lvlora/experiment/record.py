"""What of an experiment was begun, done and found: experiment.json in its folder."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lvlora import __version__, durable, folders
from lvlora.errors import DataError, LvloraError, SettingsError
from lvlora.experiment.answers import Found
from lvlora.flops.budget import Price
from lvlora.settings.experiment import Stage

FILE = "experiment.json"
ACCOUNTING = "accounting.csv"
_ENTRIES = (FILE, ACCOUNTING, "report.html")
_AGAIN = "Take it from a copy, or give the experiment another --out."


@dataclass
class Kept:
    """A stage that was begun.

    Attributes:
        asked: the settings that decide its result, and the data.
        before: what the ledger charged when it was begun; after: when it was done.
        at_most: the most that it could cost.
        seconds: of processes that worked on it and were not killed.
        found: None until it is done.
    """

    asked: dict[str, Any]
    before: Price
    at_most: Price
    began: str
    seconds: float = 0.0
    after: Price | None = None
    found: Found | None = None

    @property
    def spent(self) -> Price | None:
        """What was charged for it; None until it is done."""
        return None if self.after is None else self.after - self.before

    def to_dict(self) -> dict[str, Any]:
        """As JSON; FLOPs as text, they pass 2^53."""
        return {
            "asked": self.asked,
            "before": _written(self.before),
            "at_most": _written(self.at_most),
            "began": self.began,
            "seconds": self.seconds,
            "after": None if self.after is None else _written(self.after),
            "found": None if self.found is None else self.found.model_dump(mode="json"),
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Kept:
        """The inverse of `to_dict`; KeyError, TypeError or ValueError for anything else."""
        after, found = facts["after"], facts["found"]
        return cls(
            dict(facts["asked"]),
            _price(facts["before"]),
            _price(facts["at_most"]),
            str(facts["began"]),
            float(facts["seconds"]),
            None if after is None else _price(after),
            None if found is None else Found.model_validate(found),
        )


def _written(price: Price) -> dict[str, str]:
    return {name: str(count) for name, count in price.to_dict().items()}


def _price(facts: Mapping[str, str]) -> Price:
    return Price(int(facts["executed"]), int(facts["coursework"]))


@dataclass
class Record:
    """The folder of an experiment and what it holds of each stage that was begun."""

    folder: Path
    stages: dict[str, Kept] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> Record:
        """What is there, if anything is.

        Raises:
            DataError: it is damaged.
        """
        if not (folder / FILE).exists():
            return cls(folder)
        facts = durable.read_json_object(folder / FILE, hint=_AGAIN)
        try:
            stages = {str(name): Kept.from_dict(kept) for name, kept in facts["stages"].items()}
        except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
            raise DataError(f"{folder / FILE}: cannot be used ({error})", _AGAIN) from None
        return cls(folder, stages)

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

    def is_done(self, name: str) -> bool:
        """Whether a stage needs nothing more."""
        kept = self.stages.get(name)
        return kept is not None and kept.found is not None

    def check(self, stage: Stage, data_sha256: str) -> None:
        """Refuse a stage that was begun with other settings or data.

        Only its own limit may be larger than it was, until it is done.

        Raises:
            SettingsError: it names what differs.
        """
        kept = self.stages.get(stage.name)
        if kept is None:
            return
        now, then = asked(stage, data_sha256), _unsaid(stage) | kept.asked
        if kept.found is None and (now.get("max_flops") or 0) > (then.get("max_flops") or 0) > 0:
            larger = {"max_flops": now["max_flops"]}
            kept.asked, then = kept.asked | larger, then | larger
        different = [
            f"{name} ({then.get(name)} then, {now.get(name)} now)"
            for name in {**kept.asked, **now}
            if then.get(name) != now.get(name)
        ]
        if different:
            raise SettingsError(
                f"stage {stage.name} was begun with other settings: {', '.join(different)}",
                "Take them back, or give the experiment another --out.",
            )

    @contextlib.contextmanager
    def working_on(
        self, stage: Stage, data_sha256: str, charged: Price, at_most: Price
    ) -> Iterator[Kept]:
        """Write down that a stage is begun; count the time that is spent inside the block.

        Args:
            charged: by the ledger until now.
        """
        kept = self.stages.get(stage.name)
        if kept is None:
            moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            kept = Kept(asked(stage, data_sha256), charged, at_most, moment)
            self.stages[stage.name] = kept
            self.write()
        begin = time.perf_counter()
        try:
            yield kept
        finally:
            kept.seconds += time.perf_counter() - begin
            self.write()

    def write(self) -> None:
        """The file, whole."""
        facts = {
            "schema_version": 1,
            "lvlora_version": __version__,
            "stages": {name: kept.to_dict() for name, kept in self.stages.items()},
        }
        durable.write_text(self.folder / FILE, json.dumps(facts, indent=1) + "\n")


def asked(stage: Stage, data_sha256: str) -> dict[str, Any]:
    """All that decides a stage's result, as JSON; later stages name earlier ones by their names."""
    said = stage.settings.deciding("result", "model", "limit")
    told = {"command": stage.command, **said, "data": data_sha256}
    # as it will be read again: tuples are lists, paths text
    as_read: dict[str, Any] = json.loads(json.dumps(told))
    return as_read


def _unsaid(stage: Stage) -> dict[str, Any]:
    """What a setting was for a stage that was begun before there was one: its default, nearly."""
    model = type(stage.settings)
    said = model().deciding("result") | model.before("result")
    as_read: dict[str, Any] = json.loads(json.dumps(said))
    return as_read
