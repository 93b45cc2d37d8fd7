"""A PostgreSQL server for one test session: a cluster of its own in a temporary folder."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

SETTINGS = "-c listen_addresses='' -c fsync=off -c shared_buffers=16MB -c max_connections=40"
"""No port: only a socket in the folder."""


def _program(name: str) -> str | None:
    # Debian keeps them out of the path
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(found[-1]) if found else None)


def _unprivileged() -> tuple[list[str], int, int] | None:
    """How to become somebody who may run a server (it refuses root), and that user and group."""
    if os.geteuid() != 0:
        return [], os.geteuid(), os.getegid()
    if shutil.which("setpriv") is None:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
            return ["setpriv", *ids, "--"], user.pw_uid, user.pw_gid
    return None


def missing() -> str:
    """What a test with a database lacks here; empty if nothing."""
    if _program("initdb") is None or _program("pg_ctl") is None:
        return "PostgreSQL's server is not installed"
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed"
    return "" if _unprivileged() else "there is no unprivileged user to run a server as"


@contextlib.contextmanager
def server() -> Iterator[str]:
    """A running server; yields its SQLAlchemy URL. Nothing of it is left."""
    become = _unprivileged()
    initdb, pg_ctl = _program("initdb"), _program("pg_ctl")
    assert become is not None
    assert initdb is not None
    assert pg_ctl is not None
    prefix, user, group = become
    # not in pytest's folder, which only its owner may enter
    folder = Path(tempfile.mkdtemp(prefix="lvlora-postgres-"))
    os.chown(folder, user, group)

    def run(*command: str) -> None:
        done = subprocess.run(
            [*prefix, *command],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        assert done.returncode == 0, done.stdout + done.stderr

    data, log = str(folder / "data"), str(folder / "log")
    try:
        run(initdb, "-D", data, "-U", "lvlora", "-A", "trust", "-E", "UTF8", "--no-sync")
        run(pg_ctl, "-D", data, "-l", log, "-w", "-o", f"{SETTINGS} -k {folder}", "start")
        try:
            yield f"postgresql+psycopg://lvlora@/postgres?host={folder}"
        finally:
            run(pg_ctl, "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
