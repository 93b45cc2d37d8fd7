"""The place of a study: a journal file in its folder, or any Optuna storage by its URL."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.errors import DataError, LvloraError, SettingsError, reason
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.study import SharedStudy, StudyFacts, end_of, pruner
from lvlora.train.run_folder import RunFolder

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import BaseStorage

JOURNAL = "study.journal"
_NAME = re.compile(r"[\w][\w.+@-]{0,99}")
_FACTS = "lvlora"
"""Attribute of a study that keeps its facts."""
_RESERVED = ("latest", "ledger.sqlite")

_HEARTBEAT_SECONDS, STALE_SECONDS = 60, 900
"""Seconds between heartbeats of a trial in a database, and without one until it is made again."""


def studies_in(runs: Path) -> list[str]:
    """Return names of the studies that are kept in files of this folder."""
    return sorted(journal.parent.name for journal in runs.glob(f"*/{JOURNAL}"))


def folder_of(settings: SweepSettings) -> Path:
    """Return the study's folder.

    Raises:
        SettingsError: the name cannot be a folder's, or belongs to a run.
    """
    name = settings.study
    if not _NAME.fullmatch(name) or name in _RESERVED:
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


def trial_folder(study_folder: Path, slot: int) -> TrialFolder:
    """Return the folder of the ``slot``-th trial."""
    return TrialFolder(study_folder / f"trial-{slot:04d}")


def find(settings: SweepSettings) -> SharedStudy | None:
    """Return the study, if there is one; an empty database gets Optuna's tables.

    Raises:
        SettingsError: it was made by something else.
        DataError: it is damaged.
    """
    import optuna

    folder = folder_of(settings)
    if settings.storage is None and not (folder / JOURNAL).is_file():
        return None
    with storage_errors(settings, reading=True):
        try:
            study = optuna.load_study(study_name=settings.study, storage=_open(settings, folder))
        except KeyError:
            return None
        if _FACTS in study.user_attrs:
            shared = _shared(study, settings)
            _ = [end_of(trial)["value"] for trial in [shared.best()] if trial]  # can be read
            return shared
        if study.get_trials(deepcopy=False):
            raise SettingsError(
                f"--study {study.study_name}: was not made by lvlora sweep",
                "Choose another --study.",
            )
        return None  # another process makes it now


def make(settings: SweepSettings, facts: StudyFacts) -> SharedStudy:
    """Make a study with its plan; of two processes that do at once, both get the same.

    Raises:
        SettingsError: another process has just made it about something else.
    """
    import optuna

    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with storage_errors(settings):
        storage, name = _open(settings, folder), settings.study
        try:
            study = optuna.create_study(study_name=name, storage=storage, direction="minimize")
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=name, storage=storage)
            end = time.monotonic() + 5
            while _FACTS not in study.user_attrs and time.monotonic() < end:
                time.sleep(0.05)  # who made it writes its plan right now, unless it was killed
        if _FACTS not in study.user_attrs:
            study.set_user_attr(_FACTS, facts.model_dump(mode="json"))
        shared = _shared(study, settings)
    shared.facts.check(settings.study, facts.settings, facts.plan.stages, facts.data_sha256)
    return shared


def _shared(study: Study, settings: SweepSettings) -> SharedStudy:
    facts = StudyFacts.model_validate(study.user_attrs[_FACTS])
    stored = facts.settings_as(settings)
    study.pruner = pruner(stored.pruner)
    return SharedStudy(study, facts, stored.seed)


@contextlib.contextmanager
def storage_errors(settings: SweepSettings, *, reading: bool = False) -> Iterator[None]:
    """Turn errors of Optuna and SQLAlchemy into a sentence without the storage's password.

    Args:
        reading: only the study is read, so that whatever goes wrong is its damage.

    Raises:
        DataError: it is damaged, or was not written by lvlora.
        LvloraError: it cannot be reached.
    """
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    url = settings.storage
    place = "the journal" if url is None else f"--storage {_without_password(url)}"
    try:
        yield
    except LvloraError:
        raise
    except ImportError as error:
        raise SettingsError(
            f"{place}: its driver is not installed ({error})",
            "For PostgreSQL: pip install 'lvlora[postgres]', and postgresql+psycopg://… as URL.",
        ) from None
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError, ConnectionError) as error:
        raise LvloraError(
            f"{place}: cannot be used ({type(error.__cause__ or error).__name__})",
            "Is the URL right and the server running? sqlite:///FILE needs neither.",
        ) from None
    except Exception as error:
        if not reading:
            raise
        raise DataError(
            f"study {settings.study}: {place} is damaged ({type(error).__name__}: {reason(error)})",
            "Is it lvlora's? Move it away, or choose another --study.",
        ) from None


def _open(settings: SweepSettings, folder: Path) -> BaseStorage:
    import optuna
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if settings.storage is None:
        path = folder / JOURNAL
        lock = JournalFileOpenLock(str(path))
        if path.is_file():
            lock.acquire()
            try:
                _mend(path)
            finally:
                lock.release()
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    try:
        make_url(settings.storage).get_dialect()
    except ArgumentError:
        raise SettingsError(
            f"--storage {_without_password(settings.storage)}: is not the URL of a database",
            "For example sqlite:///studies.db or postgresql+psycopg://HOST/NAME.",
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return RDBStorage(
            settings.storage,
            heartbeat_interval=_HEARTBEAT_SECONDS,
            grace_period=STALE_SECONDS,
        )


def _without_password(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(no URL)"


def _mend(path: Path) -> None:
    """Cut off a last line that was never finished: what is appended to it could not be read."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)
