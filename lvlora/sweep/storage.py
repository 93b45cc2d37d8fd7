"""Where a study is kept: a journal file in its folder, or any Optuna storage by its URL."""

from __future__ import annotations

import contextlib
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.errors import DataError, LvloraError, SettingsError, reason
from lvlora.settings.training import SweepSettings
from lvlora.sweep.facts import check_same, limit_in, plan_in, settings_in
from lvlora.sweep.plan import SearchPlan
from lvlora.sweep.study import SharedStudy, end_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage

JOURNAL = "study.journal"
DEFAULT_PROXY_PORT = 13000
"""Optuna's own default."""
_PROXY = re.compile(r"grpc://(?P<host>[^/:@\[\]]+|\[[0-9a-fA-F:]+\])(:(?P<port>\d{1,5}))?/?")
_PROXY_SECONDS = 20.0
_NAME = re.compile(r"[\w][\w.+@-]{0,99}")
_RESERVED = ("latest", "ledger.sqlite")

_HEARTBEAT_SECONDS, STALE_SECONDS = 60, 900
"""Of a database: how often a trial's process shows that it lives, and after how long without a
sign the trial is made again."""


def studies_in(runs: Path) -> list[str]:
    """Names of the studies that are kept in files of this folder."""
    return sorted(journal.parent.name for journal in runs.glob(f"*/{JOURNAL}"))


def folder_of(settings: SweepSettings) -> Path:
    """The study's folder.

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


def find(settings: SweepSettings) -> Study | None:
    """Return the study, if there is one; an empty database gets Optuna's tables."""
    import optuna

    folder = folder_of(settings)
    if settings.storage is None and not (folder / JOURNAL).is_file():
        return None
    with storage_errors(settings), damage(settings):
        storage = _open(settings, folder)
        try:
            study = optuna.load_study(study_name=settings.study, storage=storage)
        except KeyError:
            return None
        if "lvlora" in study.user_attrs:  # all that is read later can be read
            _ = plan_in(study).validations, settings_in(study, settings), limit_in(study)
            shared = SharedStudy(study, plan_in(study), "", 0)
            _ = shared.committed(), [end_of(trial) for trial in shared.records()]
        return study


def make(
    settings: SweepSettings,
    plan: SearchPlan,
    facts: Mapping[str, Any],
    pruner: BasePruner,
) -> Study:
    """A new study with its plan in it; of two processes that make it at once, both get the same.

    Raises `check_same`'s error if another process has just made it about something else.
    """
    import optuna

    folder = folder_of(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with storage_errors(settings):
        storage = _open(settings, folder)
        try:
            study = optuna.create_study(
                study_name=settings.study,
                storage=storage,
                pruner=pruner,
                directions=["minimize"] * (2 if settings.pareto else 1),
            )
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.load_study(study_name=settings.study, storage=storage, pruner=pruner)
            end = time.monotonic() + 5
            while "lvlora" not in study.user_attrs and time.monotonic() < end:
                time.sleep(0.05)  # who made it writes its plan right now, unless it was killed
        if "lvlora" not in study.user_attrs:
            allotted = [a.to_dict() for a in plan.allotments]
            study.set_user_attr("lvlora", {**facts, "allotments": allotted})
    check_same(study, facts)
    return study


@contextlib.contextmanager
def damage(settings: SweepSettings) -> Iterator[None]:
    """What Optuna and we stumble over in a study that was not written by us, as a sentence."""
    try:
        yield
    except (
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        AssertionError,
        OverflowError,
        RecursionError,
        ValueError,
    ) as error:
        raise DataError(
            f"study {settings.study}: its {JOURNAL if settings.storage is None else 'storage'} is "
            f"damaged ({type(error).__name__}: {reason(error)})",
            "Is it lvlora's? Move it away, or choose another --study.",
        ) from None


@contextlib.contextmanager
def storage_errors(settings: SweepSettings) -> Iterator[None]:
    """What Optuna and SQLAlchemy say of a storage, as a sentence without its password."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    place = "the journal" if settings.storage is None else f"--storage {_shown(settings.storage)}"
    try:
        yield
    except ImportError as error:
        raise SettingsError(
            f"{place}: its driver is not installed ({error})",
            "For PostgreSQL: pip install 'lvlora[postgres]', and postgresql+psycopg://… as URL; "
            "for grpc://…: pip install 'lvlora[grpc]'.",
        ) from None
    except (
        SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        ConnectionError,
    ) as error:
        raise _unusable(place, error.__cause__ or error) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "grpc":
            raise _unusable(place, error) from None
        if not isinstance(error, ValueError):
            raise
        raise DataError(
            f"study {settings.study}: {place} cannot be read ({error})",
            "Is it Optuna's? Move it away, or choose another --study.",
        ) from None


def _unusable(place: str, error: BaseException) -> LvloraError:
    return LvloraError(
        f"{place}: cannot be used ({type(error).__name__})",
        "Is the URL right and the server running? sqlite:///FILE needs neither.",
    )


def _open(settings: SweepSettings, folder: Path) -> BaseStorage:
    import optuna
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if settings.storage is not None:
        proxy = _PROXY.fullmatch(settings.storage)
        if proxy is not None:
            return _proxy(proxy["host"], int(proxy["port"] or DEFAULT_PROXY_PORT))
        _check_url(settings.storage)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                settings.storage,
                heartbeat_interval=_HEARTBEAT_SECONDS,
                grace_period=STALE_SECONDS,
            )
    path = folder / JOURNAL
    lock = JournalFileOpenLock(str(path))
    if path.is_file():
        lock.acquire()
        try:
            _mend(path)
        finally:
            lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


def _check_url(url: str) -> None:
    """Refuse what is no URL of a database.

    Raises:
        SettingsError: it is none.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        make_url(url).get_dialect()
    except ArgumentError:
        raise SettingsError(
            f"--storage {_shown(url)}: is not the URL of a database",
            "For example sqlite:///studies.db, postgresql+psycopg://HOST/NAME or grpc://HOST:PORT.",
        ) from None


def _proxy(host: str, port: int) -> BaseStorage:
    """A storage that another process keeps (Optuna's gRPC proxy): one connection to the database
    for many workers.

    Raises:
        ConnectionError: nobody answers there.
    """
    from optuna.exceptions import ExperimentalWarning
    from optuna.storages import GrpcStorageProxy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        proxy = GrpcStorageProxy(host=host, port=port)
    proxy.wait_server_ready(_PROXY_SECONDS)
    return proxy


def _mend(path: Path) -> None:
    """Cut off a last line that was never finished: what is appended to it could not be read."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        with path.open("r+b") as stream:
            stream.truncate(content.rfind(b"\n") + 1)


def _shown(url: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "(no URL)"
