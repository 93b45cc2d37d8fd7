import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledgers import reserve, settle

from lvlora.answers import Price
from lvlora.errors import BudgetError, DataError, LvloraError, SettingsError
from lvlora.flops.ledger import Ledger, Limits, Wanted
from lvlora.flops.rows import Spender


@pytest.fixture
def ledger(tmp_path):
    with Ledger.for_runs(tmp_path) as ledger:
        yield ledger


def test_a_reservation_is_charged_in_full_until_it_is_settled(ledger):
    held = reserve(ledger)
    assert ledger.charged() == Price(100, 300)
    ledger.record(held, Price(40, 120))
    assert ledger.charged() == Price(100, 300)
    settle(ledger, held, 60, 180)
    assert ledger.charged() == Price(60, 180)
    (row,) = ledger.rows()
    assert (row.status, row.seconds, row.tokens_useful, row.tokens_padded) == ("settled", 1, 10, 12)


def test_a_run_that_would_pass_the_budget_is_refused_with_the_numbers(ledger):
    ledger.set_budget(1000, "executed")
    settle(ledger, reserve(ledger, 400, 1), 300, 1)
    reserve(ledger, 600, 10**30, run="b")
    with pytest.raises(BudgetError) as caught:
        reserve(ledger, 101, 1, run="c")
    assert caught.value.exit_code == 3
    for number in ("101 FLOPs wanted", "300 spent", "600 reserved", "limit 1,000", "executed"):
        assert number in caught.value.message
    assert len(ledger.rows()) == 2
    reserve(ledger, 100, 1, run="c")


def test_the_budget_holds_in_its_own_convention(ledger):
    reserve(ledger, 10**20, 5, budget=10, convention="coursework")
    assert (ledger.budget().flops, ledger.budget().convention) == (10, "coursework")
    with pytest.raises(BudgetError, match="coursework"):
        reserve(ledger, 1, 6)
    reserve(ledger, 1, 5)


def test_the_budget_of_a_refused_run_is_not_kept(ledger):
    with pytest.raises(BudgetError, match=r"limit 10 \(executed\), by budget"):
        reserve(ledger, 11, 1, budget=10)
    assert ledger.budget() is None
    assert ledger.rows() == []
    reserve(ledger, 11, 1, budget=20)
    with pytest.raises(BudgetError):
        reserve(ledger, 1, 1, budget=5)
    assert (ledger.budget().flops, ledger.budget().convention) == (20, "executed")
    with pytest.raises(BudgetError, match=r"\(executed\), set by lvlora train on 20.* UTC"):
        reserve(ledger, 10, 1)
    reserve(ledger, 10, 1, budget="none")
    assert ledger.budget() is None


def test_phases_are_promised_together_or_not_at_all(ledger):
    wanted = {"train": Wanted(Price(60, 1)), "validation": Wanted(Price(50, 1), Price(5, 1))}
    with pytest.raises(BudgetError, match=r"110 FLOPs wanted, 0 spent, 0 reserved, limit 100"):
        ledger.reserve("a", wanted, Spender(command="train"), Limits(budget=100))
    assert (ledger.rows(), ledger.budget()) == ([], None)
    output = ledger.reserve("a", wanted, Spender(command="train"), Limits(budget=110))
    assert [(r.phase, r.reserved.executed) for r in output.values()] == [
        ("train", 60),
        ("validation", 50),
    ]
    assert [r.unit for r in ledger.rows()] == [None, Price(5, 1)]


def test_a_runs_own_limit_counts_all_its_phases(ledger):
    settle(ledger, reserve(ledger, 50, 1, run="x"), 50, 1)
    reserve(ledger, 1000, 1, run="other")
    reserve(ledger, 30, 1, run="x", phase="validation", max_flops=80)
    with pytest.raises(BudgetError, match="run x"):
        reserve(ledger, 1, 1, run="x", max_flops=80)


def test_counts_beyond_64_bits_are_exact(ledger):
    big = 2**63 + 1
    for _ in range(3):
        reserve(ledger, big, 7 * big)
    ledger.set_budget(3 * big, "executed")
    assert ledger.charged() == Price(3 * big, 21 * big)
    with pytest.raises(BudgetError):
        reserve(ledger, 1, 1)


def test_settling_more_than_reserved_is_recorded_and_less_than_progress_is_not_believed(ledger):
    held = reserve(ledger, 100, 100)
    settle(ledger, held, 150, 170)
    held = reserve(ledger, 100, 100)
    ledger.record(held, Price(80, 90))
    settle(ledger, held, 10, 10)
    assert ledger.charged() == Price(230, 260)


@pytest.mark.parametrize(
    ("amount", "message"), [(-1, "negative"), (-(10**20), "negative"), (1e12, "whole numbers")]
)
def test_only_whole_numbers_from_zero_on_are_counted(ledger, amount, message):
    with pytest.raises(SettingsError, match=message):
        reserve(ledger, amount, 1)
    held = reserve(ledger, np.int64(7), np.int64(8))
    with pytest.raises(SettingsError, match=message):
        settle(ledger, held, 1, amount)
    assert ledger.charged() == Price(7, 8)
    settle(ledger, held, np.int64(5), 6)
    assert ledger.charged() == Price(5, 6)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(
            (name, value)
            for name in ("reserved.executed", "spent.executed", "unit.coursework")
            for value in (-1, "", 1.5, "many", None)
        ),
        ("seconds", -1.0),
        ("tokens_useful", -1),
        ("status", "free"),
        ("created_at", "2026-12-01T00:00:00"),
    ],
)
def test_an_entry_that_was_not_written_by_us_is_refused(ledger, column, value):
    reserve(ledger, unit=Price(1, 1))
    with contextlib.closing(sqlite3.connect(ledger.path)) as other:
        changed = (f"$.{column}", value)
        other.execute("UPDATE entry SET record = json_set(record, ?, ?)", changed)
        other.commit()
    with pytest.raises(DataError, match=f"damaged: {column.partition('.')[0]}"):
        ledger.table()


@pytest.mark.parametrize(
    ("unit", "progress", "charged"),
    [
        (Price(15, 45), Price(40, 120), Price(55, 165)),
        (Price(15, 45), Price(95, 290), Price(100, 300)),  # no more than was reserved
        (None, Price(1, 1), Price(100, 300)),
    ],
)
def test_closing_charges_progress_and_one_unit_or_all(ledger, unit, progress, charged):
    held = reserve(ledger, unit=unit)
    ledger.record(held, progress, seconds=5, tokens_useful=7)
    assert ledger.close("a") == ledger.charged() == charged
    (row,) = ledger.rows()
    assert (row.status, row.seconds, row.tokens_useful) == ("closed", 5, 7)


def test_closing_a_run_without_a_reservation_names_those_that_have_one(ledger):
    reserve(ledger, run="killed-one")
    with pytest.raises(SettingsError) as caught:
        ledger.close("other")
    assert "killed-one" in caught.value.hint


def test_who_lost_a_reservation_is_told_and_its_spending_is_still_counted(ledger):
    held = reserve(ledger, unit=Price(10, 30))
    assert ledger.close("a") == Price(10, 30)
    with pytest.raises(LvloraError, match="no longer held"):
        ledger.record(held, Price(25, 75))
    assert ledger.charged() == Price(25, 75)
    assert [row.run for row in ledger.rows()] == ["a", "a"]


def run_python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


HOLD = """
    import sys, time
    from pathlib import Path
    from ledgers import reserve
    from lvlora.answers import Price
    from lvlora.flops.ledger import Ledger
    ledger = Ledger(Path(sys.argv[1]))
    held = reserve(ledger, run="held", unit=Price(10, 30))
    ledger.record(held, Price(50, 150))
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_living_process_keeps_its_reservation_and_a_killed_one_stays_charged(ledger):
    with run_python(HOLD, ledger.path) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            with pytest.raises(LvloraError, match=f"process {child.pid}"):
                ledger.close("held")
        finally:
            child.kill()
    with Ledger(ledger.path) as again:
        assert again.charged() == Price(100, 300)
        assert again.close("held") == Price(60, 180)


WORKER = """
    import os, signal, sys
    from pathlib import Path
    from ledgers import reserve, settle
    from lvlora.errors import BudgetError
    from lvlora.flops.ledger import Ledger
    path, name, dies = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "dies"
    print("up", flush=True)
    sys.stdin.readline()
    done = refused = 0
    with Ledger(path) as ledger:
        for number in range(12):
            try:
                held = reserve(ledger, 2**62 + 7, 1, f"{name}-{number}")
            except BudgetError:
                refused += 1
                continue
            # written before the kill: what was promised must be in the ledger
            os.write(1, f"reserved {name}-{number}\\n".encode())
            if dies and number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            if number % 2:
                settle(ledger, held, 2**61 + number, 1)
                os.write(1, f"settled {name}-{number} {2**61 + number}\\n".encode())
    os.write(1, b"finished\\n")
"""


@pytest.mark.parametrize(
    ("limit", "n_workers"), [pytest.param(60, 8, marks=pytest.mark.slow), (20, 4)]
)
def test_many_processes_reserve_at_once_and_half_are_killed(tmp_path, limit, n_workers):
    unit, path = 2**62 + 7, tmp_path / "ledger.sqlite"
    budget = limit * unit
    with Ledger(path) as ledger:
        ledger.set_budget(budget, "executed")
    os.unlink(path)  # the workers race to make the file, too
    workers = [
        run_python(WORKER, path, f"w{i}", "dies" if i % 2 else "lives") for i in range(n_workers)
    ]
    with Ledger(path) as ledger:
        ledger.set_budget(budget, "executed")
    for worker in workers:
        assert worker.stdout.readline() == "up\n"
    promised, settled = set(), {}
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=120)
        for line in out.splitlines():
            match line.split():
                case ["reserved", run]:
                    promised.add(run)
                case ["settled", run, flops]:
                    settled[run] = int(flops)
    if limit == 60:
        assert [w.returncode for w in workers].count(-signal.SIGKILL) == n_workers // 2
    assert {w.returncode for w in workers} <= {0, -signal.SIGKILL}
    with Ledger(path) as ledger:
        runs = {row.run for row in ledger.rows()}
        charged = ledger.charged().executed
    assert runs == promised
    expected = sum(settled.get(run, unit) for run in promised)
    assert charged == expected <= budget
    # nothing fits any more when the limit is tight, and the sum never passed it on the way
    if limit == 20:
        assert charged + unit > budget


def test_a_missing_ledger_is_only_made_when_wanted(tmp_path):
    with pytest.raises(DataError):
        Ledger.for_runs(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def _changed_by_others(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute(statement)
        other.commit()


def _other_version(path):
    Ledger(path).disconnect()
    _changed_by_others(path, "PRAGMA user_version = 1")


@pytest.mark.parametrize(
    ("write", "error"),
    [
        (lambda path: path.write_bytes(b"not a database at all" * 100), DataError),
        (lambda path: path.write_bytes(bytes(4096)), DataError),
        (lambda path: _changed_by_others(path, "CREATE TABLE entry (id INTEGER)"), DataError),
        (_other_version, DataError),
        (lambda path: path.mkdir(), SettingsError),
        (lambda path: path.symlink_to("nowhere"), SettingsError),
    ],
)
def test_what_is_no_ledger_of_ours_is_refused_by_path_and_left_alone(tmp_path, write, error):
    path = tmp_path / "ledger.sqlite"
    write(path)
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(error, match=r"ledger\.sqlite"):
        Ledger(path)
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.parametrize("position", [20, 100, 4096 + 8, 8192 + 8, 12288 + 8])
def test_a_damaged_ledger_never_gives_a_traceback(tmp_path, position):
    with Ledger.for_runs(tmp_path) as ledger:
        for _ in range(20):
            reserve(ledger)
        path = ledger.path
    data = bytearray(path.read_bytes())
    data[position : position + 64] = bytes(b ^ 0xFF for b in data[position : position + 64])
    path.write_bytes(data)
    try:
        with Ledger(path) as ledger:
            ledger.table()
            reserve(ledger)
    except DataError as error:
        assert str(path) in error.message  # noqa: PT017


def test_the_table(ledger):
    ledger.set_budget(10_000, "coursework")
    settle(ledger, reserve(ledger, device="cpu", dtype="float32", model="m"), 60, 180, seconds=3.0)
    settle(ledger, reserve(ledger, device="cpu"), 60, 180, seconds=3.0)
    settle(ledger, reserve(ledger, device="gpu"), 60, 180, seconds=3.0)
    reserve(ledger, run="open")
    table = ledger.table()
    assert table.total == Price(coursework=840, executed=280)
    assert (table.budget, table.convention, table.left) == (10_000, "coursework", 9160)
    assert [r.share_of_budget for r in table.runs] == [0.018, 0.018, 0.018, 0.03]
    assert table.runs[3].status == "open"
    assert sum(row.executed for row in table.runs) == 280


def test_waiting_for_another_writer_ends_with_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr("lvlora.flops.ledger._BUSY_SECONDS", 0.05)
    with Ledger.for_runs(tmp_path) as ledger:
        other = sqlite3.connect(ledger.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LvloraError, match="locked") as caught:
            reserve(ledger)
        assert caught.value.exit_code == 1
        other.execute("ROLLBACK")
        other.close()
        reserve(ledger)


def test_a_full_disk_leaves_the_ledger_as_it_was(ledger):
    reserve(ledger, 5, 6)
    (pages,) = ledger._db.execute("PRAGMA page_count").fetchone()
    ledger._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LvloraError, match="full") as caught:
        reserve(ledger, 0, 0, command="x" * 1_000_000)
    assert caught.value.exit_code == 1
    assert ledger.charged() == Price(5, 6)
    with Ledger(ledger.path) as again:
        assert again.charged() == Price(5, 6)


def test_names_are_only_ever_data(ledger):
    name = "x'); DROP TABLE entry; --"
    reserve(ledger, run=name)
    assert ledger.rows()[0].run == name
    assert ledger.close(name) == Price(100, 300)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 2**70),
            st.integers(0, 2**70),
            st.sampled_from(["settle", "kill", "close"]),
            st.floats(0, 1.5),
        ),
        max_size=12,
    ),
    st.integers(1, 2**72),
)
def test_whatever_happens_the_sum_is_exact_and_promises_stay_in_the_budget(
    tmp_path_factory, events, budget
):
    with Ledger.for_runs(tmp_path_factory.mktemp("runs")) as ledger:
        ledger.set_budget(budget, "executed")
        expected = 0
        for number, (run, executed, coursework, end, share) in enumerate(events):
            run = f"{run}{number}"
            try:
                held = reserve(ledger, executed, coursework, run=run)
            except BudgetError:
                assert expected + executed > budget
                continue
            assert expected + executed <= budget
            if end == "settle":
                spent = int(executed * share)
                settle(ledger, held, spent, 0)
                expected += spent
            else:
                expected += executed
                if end == "close":
                    ledger.close(run)
        assert ledger.charged().executed == expected


def test_a_new_ledger_is_opened_by_many_at_once(tmp_path):
    for number in range(40):
        barrier = threading.Barrier(4)

        def open_it(path=tmp_path / f"{number}.sqlite", barrier=barrier):
            barrier.wait()
            with Ledger(path) as ledger:
                return ledger.rows()

        with ThreadPoolExecutor(4) as pool:
            assert [each.result() for each in [pool.submit(open_it) for _ in range(4)]] == [[]] * 4
