"""An Optuna study as its plan counts it: slots, the attempts at each, and their place on disk.

A sweep has a fixed number of *slots*, the trials as people count them. Optuna's trials are
*attempts* at a slot. One that was interrupted or killed is a failed trial without a reason, and its
slot is drawn again with the same parameters. A process holds the lock of its slot's folder, and a
dead one lets go of it, so any number of processes may share a study. The ledger has the FLOPs of
all and keeps the limit.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lvlora import durable, folders
from lvlora.answers import Shape
from lvlora.errors import DataError, LvloraError, SettingsError, reason
from lvlora.settings.base import differences
from lvlora.sweep.plan import SearchPlan, Stage, sampler_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Params, merged
from lvlora.train.run_folder import RunFolder

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.storages import JournalStorage
    from optuna.trial import FrozenTrial

JOURNAL = "study.journal"
_NAME = re.compile(r"(?!(latest|ledger\.sqlite)$)\w[\w.+@-]{0,99}")
_FACTS = "lvlora"
"""Attribute of a study that keeps its facts."""
State = Literal["running", "complete", "failed"]


class StudyFacts(Shape):
    """The subject of a study, kept in it and compared with that of a later call."""

    settings: dict[str, Any]
    """All of them, as JSON."""
    data_sha256: str
    first_entry: int
    """Id of its first entry in the ledger: an earlier study may have had its name."""
    plan: SearchPlan

    def check(
        self, study: str, now: Mapping[str, Any], stages: Sequence[Stage], data_sha256: str
    ) -> None:
        """Refuse to go on with other settings (``now``, as JSON), another space or other data."""
        changed = differences(compared(self.settings), compared(now))
        if [stage.subject for stage in self.plan.stages] != [stage.subject for stage in stages]:
            changed.append("what is searched")
        if self.data_sha256 != data_sha256:
            changed.append("the data")
        if changed:
            raise SettingsError(
                f"study {study} is about something else: {', '.join(changed)}",
                "Start another one with --study NAME, or go on with the same settings.",
            )


def compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that must be the same whenever a study goes on."""
    deciding = SweepSettings.affecting("result", "data", "model", "placement", "limit")
    names = deciding - {"data", "max_flops", "preset", "space"}  # as hash, limit and stages
    return {name: value for name, value in settings.items() if name in names}


def folder_of(settings: SweepSettings) -> Path:
    """Return the study's folder; a name that cannot be a folder's, or is a run's, is refused."""
    name = settings.study
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"--study {name}: is no name for a study",
            "Letters, digits, - and _ will do; it becomes a folder beside the runs.",
        )
    folder = settings.runs / name
    if (folder / "metrics.jsonl").exists():
        raise SettingsError(
            f"--study {name}: {folder} is a run of lvlora train", "Choose another --study."
        )
    return folder


class TrialFolder(RunFolder):
    """A run's folder inside a study's; the ledger knows it by both names."""

    @property
    def name(self) -> str:
        """STUDY/trial-0003."""
        return f"{self.path.parent.name}/{self.path.name}"

    def clear(self) -> None:
        """Remove the files of an earlier attempt, except the lock."""
        stranger = folders.stranger_in(self.path)
        if stranger is not None:
            raise SettingsError(
                f"{self.path}: lvlora did not write its {stranger}, so it is not replaced",
                "Move it elsewhere and run again.",
            )
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name not in (folders.LOCK, folders.MARK):
                entry.unlink()


def trial_folder(settings: SweepSettings, slot: int) -> TrialFolder:
    """Return the folder of the ``slot``-th trial."""
    return TrialFolder(folder_of(settings) / f"trial-{slot:04d}")


def slot_of(trial: FrozenTrial | Trial) -> int:
    """Return the slot of an attempt."""
    return int(trial.user_attrs["slot"])


def end_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the result of an attempt: value, FLOPs, …, or the reason of a failure."""
    return dict(trial.user_attrs.get("end", {}))


def state_of(trial: FrozenTrial) -> State | None:
    """Return the state in which an attempt takes its slot; None where it was lost."""
    if trial.state.name == "FAIL":
        return "failed" if "reason" in end_of(trial) else None
    states: dict[str, State] = {"RUNNING": "running", "COMPLETE": "complete"}
    return states[trial.state.name]


class _Busy(LvloraError):
    """Another process works on a slot."""


class SharedStudy:
    """All trials of a study, as its plan counts them; other processes may share it.

    ``original`` are the settings that it was made with.

    Raises:
        DataError: it is damaged, or was not written by lvlora.
    """

    def __init__(self, settings: SweepSettings) -> None:
        import optuna

        self.settings = settings
        try:
            storage = _journal(folder_of(settings) / JOURNAL)
            self.study: Study = optuna.load_study(study_name=settings.study, storage=storage)
            facts = json.dumps(self.study.user_attrs[_FACTS])
            self.facts = StudyFacts.model_validate_json(facts)
            self.plan = self.facts.plan
            place = {"runs": settings.runs, "study": settings.study}
            self.original = SweepSettings.model_validate({**self.facts.settings, **place})
            self.best()  # can be read
        except LvloraError:
            raise
        except Exception as error:  # whatever goes wrong here is damage
            raise DataError(
                f"study {settings.study}: its journal is damaged ({reason(error)})",
                "Is it lvlora's? Move it away, or choose another --study.",
            ) from None

    @classmethod
    def find(cls, settings: SweepSettings) -> SharedStudy | None:
        """Return the study of these settings, if there is one."""
        return cls(settings) if (folder_of(settings) / JOURNAL).is_file() else None

    @classmethod
    def make(cls, settings: SweepSettings, facts: StudyFacts) -> SharedStudy:
        """Make a study; of two processes that do at once, both get the plan of the first."""
        import optuna

        journal = folder_of(settings) / JOURNAL
        try:
            with durable.replacing(journal, over=False) as unfinished:
                study = optuna.create_study(study_name=settings.study, storage=_journal(unfinished))
                study.set_user_attr(_FACTS, facts.model_dump(mode="json"))
        except DataError:
            if not journal.exists():
                raise
        shared = cls(settings)
        shared.facts.check(settings.study, facts.settings, facts.plan.stages, facts.data_sha256)
        return shared

    def attempts(self) -> list[FrozenTrial]:
        """Return every attempt, in Optuna's order."""
        return [t for t in self.study.get_trials(deepcopy=False) if "slot" in t.user_attrs]

    def by_slot(self) -> dict[int, FrozenTrial]:
        """Return slot → the attempt that takes it, in the slots' order."""
        taken = {slot_of(t): t for t in self.attempts() if state_of(t) is not None}
        return dict(sorted(taken.items()))

    def best(self, slots: Iterable[int] | None = None) -> FrozenTrial | None:
        """Return the complete trial with the lowest error; of equals, the first."""
        taken = self.by_slot()
        trials = [taken[slot] for slot in slots or taken if slot in taken]
        complete = [trial for trial in trials if state_of(trial) == "complete"]
        return min(complete, key=lambda trial: end_of(trial)["value"], default=None)

    def open_slots(self) -> list[int]:
        """Return the slots without a result of the first stage that has any; empty: all is done."""
        over = {slot for slot, t in self.by_slot().items() if state_of(t) != "running"}
        without = [slot for slot in range(self.plan.trials) if slot not in over]
        if not without:
            return []
        stage = self.plan.slots(self.plan.stage_of(without[0]))
        return [slot for slot in without if slot in stage]

    def claim(self, held: ExitStack) -> Trial | None:
        """Begin the next attempt and draw its parameters; None while others make the rest.

        ``held`` gets the lock of its folder, which has to last until the study was told its end.
        """
        for slot in self.open_slots():
            folder = trial_folder(self.settings, slot).path
            folder.mkdir(parents=True, exist_ok=True)
            with ExitStack() as lock, contextlib.suppress(_Busy):
                lock.enter_context(folders.held(folder, _Busy("it is another process's")))
                if slot in self.open_slots():  # as of now, when nobody else works on it
                    held.enter_context(lock.pop_all())
                    return self._begin(slot)
        return None

    def tell(self, trial: Trial, end: Mapping[str, Any]) -> None:
        """End an attempt: complete with a value, failed with a reason, lost without either."""
        from optuna.trial import TrialState

        if end:
            trial.set_user_attr("end", dict(end))
        value = None if "reason" in end else end.get("value")
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        self.study.tell(trial, value, state=state)

    def _begin(self, slot: int) -> Trial:
        from optuna.exceptions import ExperimentalWarning
        from optuna.samplers import PartialFixedSampler
        from optuna.trial import TrialState

        index = self.plan.stage_of(slot)
        stage = self.plan.stages[index]
        space, params = stage.space, Params()
        if stage.follows:
            space = merged(stage.space for stage in self.plan.stages[: index + 1])
            params |= self._best_before(index).params
        if stage.points is not None:
            params |= stage.points[slot - self.plan.slots(index).start]
        for lost in (trial for trial in self.attempts() if slot_of(trial) == slot):
            params |= lost.params  # are drawn once
            if not lost.state.is_finished():  # its process died
                self.study.tell(lost.number, state=TrialState.FAIL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self.study.sampler = PartialFixedSampler(params, self._sampler(slot))
        trial = self.study.ask()
        trial.set_user_attr("slot", slot)
        space.suggest(trial)
        return trial

    def _best_before(self, index: int) -> FrozenTrial:
        for earlier in reversed(range(index)):
            best = self.best(self.plan.slots(earlier))
            if best is not None:
                return best
        raise LvloraError(
            f"stage {self.plan.stages[index].stage}: no trial before it has a result to go on from",
            "lvlora sweep --status shows why they failed; a smaller --learning-rate may help.",
        )

    def _sampler(self, slot: int) -> BaseSampler:
        """Return a sampler of (seed, slot): a draw does not depend on the process that makes it."""
        from optuna.samplers import RandomSampler, TPESampler

        sequence = np.random.SeedSequence([self.settings.seed, slot])
        seed = int(sequence.generate_state(1)[0])
        if sampler_of(self.settings, self.plan.stages[0].space) == "tpe":
            startup = min(10, max(4, self.plan.trials // 3))
            return TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
        return RandomSampler(seed=seed)


def _journal(path: Path) -> JournalStorage:
    """Open a journal; a last line that was never finished is cut off, for nothing could follow."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lock = JournalFileOpenLock(str(path))
    lock.acquire()
    try:
        content = path.read_bytes()
        if content and not content.endswith(b"\n"):
            with path.open("r+b") as stream:
                stream.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
