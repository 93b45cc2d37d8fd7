import os
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvlora.answers import Flops
from lvlora.errors import BudgetError, DataError, LvloraError, SettingsError
from lvlora.flops import migrations
from lvlora.flops.budget import NOTHING, Budget, Price
from lvlora.flops.ledger import Ledger
from lvlora.flops.reservation import Limits, Spender, Wanted


@pytest.fixture
def ledger(tmp_path):
    with Ledger.for_runs(tmp_path) as ledger:
        yield ledger


def reserve(ledger, executed=100, coursework=300, run="a", **more):
    more = {"phase": "train", "command": "train", **more}
    return ledger.reserve(run=run, executed=executed, coursework=coursework, **more)


def settle(ledger, reservation, executed, coursework, seconds=1.0):
    ledger.settle(
        reservation,
        executed=executed,
        coursework=coursework,
        seconds=seconds,
        tokens_useful=10,
        tokens_padded=12,
    )


def test_a_reservation_is_charged_in_full_until_it_is_settled(ledger):
    held = reserve(ledger)
    assert ledger.charged() == Price(100, 300)
    ledger.update(held, executed=40, coursework=120)
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
    assert ledger.budget() == Budget(10, "coursework")
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
    assert ledger.budget() == Budget(20, "executed")
    with pytest.raises(BudgetError, match=r"\(executed\), set by lvlora train on 20.* UTC"):
        reserve(ledger, 10, 1)
    reserve(ledger, 10, 1, budget="none")
    assert ledger.budget() is None


def test_phases_are_promised_together_or_not_at_all(ledger):
    wanted = {"train": Wanted(Price(60, 1)), "validation": Wanted(Price(50, 1), Price(5, 1))}
    with pytest.raises(BudgetError, match=r"110 FLOPs wanted, 0 spent, 0 reserved, limit 100"):
        ledger.reserve_all(wanted, "a", Spender("train"), Limits(budget=100))
    assert (ledger.rows(), ledger.budget()) == ([], None)
    made = ledger.reserve_all(wanted, "a", Spender("train"), Limits(budget=110))
    assert [(r.phase, r.reserved.executed) for r in made.values()] == [
        ("train", 60),
        ("validation", 50),
    ]
    assert [r.unit for r in ledger.rows()] == [None, Price(5, 1)]


def test_nothing_may_always_be_reserved(ledger):
    reserve(ledger, 10, 10)
    ledger.set_budget(5, "executed")
    reserve(ledger, 0, 0)
    with pytest.raises(BudgetError, match="1 FLOPs wanted, 0 spent, 10 reserved"):
        reserve(ledger, 1, 1)


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
    ledger.update(held, executed=80, coursework=90)
    settle(ledger, held, 10, 10)
    assert ledger.charged() == Price(230, 260)


def test_a_settled_reservation_cannot_be_settled_again(ledger):
    held = reserve(ledger)
    settle(ledger, held, 60, 180)
    with pytest.raises(LvloraError, match="no longer held"):
        settle(ledger, held, 60, 180)
    assert ledger.charged() == Price(60, 180)


@pytest.mark.parametrize("amount", [-1, -(10**20)])
def test_negative_amounts_are_refused(ledger, amount):
    with pytest.raises(SettingsError, match="negative"):
        reserve(ledger, amount, 1)
    held = reserve(ledger)
    with pytest.raises(SettingsError, match="negative"):
        settle(ledger, held, 1, amount)
    assert ledger.charged() == Price(100, 300)


def test_only_whole_numbers_are_counted(ledger):
    import numpy as np

    with pytest.raises(SettingsError, match="whole numbers"):
        reserve(ledger, 1e12, 1)
    held = reserve(ledger, np.int64(7), np.int64(8))
    settle(ledger, held, np.int64(5), 6)
    assert ledger.charged() == Price(5, 6)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(
            (name, value)
            for name in ("reserved_executed", "executed", "coursework", "unit_coursework")
            for value in ("-1", "", "1.5", "1e9", "9" * 81)
        ),
        ("seconds", -1.0),
        ("seconds", float("inf")),
        ("tokens_useful", -1),
        ("status", "free"),
    ],
)
def test_the_tables_themselves_refuse_what_is_impossible(ledger, column, value):
    reserve(ledger)
    other = sqlite3.connect(ledger.path)
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        other.execute(f"UPDATE entry SET {column} = ?", (value,))
    # who gets round that is refused by name
    other.execute("PRAGMA ignore_check_constraints = ON")
    other.execute(f"UPDATE entry SET {column} = ?", (value,))
    other.commit()
    other.close()
    with pytest.raises(DataError, match="not a ledger, or damaged"):
        ledger.table()


def test_a_ledger_of_the_first_version_is_taken_over(tmp_path):
    path = tmp_path / "ledger.sqlite"
    old = sqlite3.connect(path)
    for statement in migrations.MIGRATIONS[0]:
        old.execute(statement)
    old.execute("PRAGMA user_version = 1")
    old.execute(f"PRAGMA application_id = {migrations.APPLICATION_ID}")
    for run in ("a", "b"):
        old.execute(
            "INSERT INTO entry (run, phase, command, status, reserved_executed, "
            "reserved_coursework, executed, created_at, updated_at) "
            "VALUES (?, 'train', 'train', 'settled', '9', '8', '7', ?, ?)",
            (run, "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"),
        )
    old.execute("INSERT INTO budget VALUES (1, '1000', 'coursework', '2026-01-01T00:00:00+00:00')")
    old.commit()
    old.close()
    with Ledger(path) as ledger:
        assert [(r.id, r.run, r.spent) for r in ledger.rows()] == [
            (1, "a", Price(7, 0)),
            (2, "b", Price(7, 0)),
        ]
        assert ledger.budget() == Budget(1000, "coursework")
        assert ledger.budget().origin == "set on 2026-01-01 at 00:00 UTC"
        assert reserve(ledger).id == 3


def test_closing_charges_progress_and_one_unit(ledger):
    held = reserve(ledger, 100, 300, unit_executed=15, unit_coursework=45)
    ledger.update(held, executed=40, coursework=120)
    assert ledger.close("a") == Price(55, 165)
    assert ledger.charged() == Price(55, 165)
    assert ledger.rows()[0].status == "closed"


def test_closing_never_charges_more_than_was_reserved(ledger):
    held = reserve(ledger, 100, 300, unit_executed=15, unit_coursework=45)
    ledger.update(held, executed=95, coursework=290)
    assert ledger.close("a") == Price(100, 300)


def test_closing_charges_in_full_when_the_unit_is_unknown(ledger):
    held = reserve(ledger)
    ledger.update(held, executed=1, coursework=1)
    assert ledger.close("a") == Price(100, 300)


def test_closing_a_run_without_a_reservation_names_those_that_have_one(ledger):
    reserve(ledger, run="killed-one")
    with pytest.raises(SettingsError) as caught:
        ledger.close("other")
    assert "killed-one" in caught.value.hint


def test_resuming_charges_what_was_in_flight_and_makes_room_for_the_repeated_steps(ledger):
    ledger.set_budget(1000, "executed")
    held = reserve(ledger, 100, 300, unit_executed=10, unit_coursework=30)
    ledger.update(held, executed=50, coursework=150, seconds=5, tokens_useful=7, tokens_padded=8)
    taken = ledger.resume("a")
    assert taken.spent == Price(60, 180)
    assert (taken.seconds, taken.tokens_useful, taken.tokens_padded) == (5, 7, 8)
    with pytest.raises(BudgetError):
        ledger.extend(taken, executed=941, coursework=1)
    assert ledger.charged() == Price(100, 300)
    extended = ledger.extend(taken, executed=70, coursework=210)
    assert extended.reserved == Price(130, 390)
    assert ledger.charged() == Price(130, 390)
    settle(ledger, extended, 125, 375)
    assert ledger.charged() == Price(125, 375)


def test_an_extension_respects_the_runs_limit(ledger):
    held = reserve(ledger, 100, 300)
    with pytest.raises(BudgetError):
        ledger.extend(held, executed=121, coursework=1, max_flops=120)
    ledger.extend(held, executed=120, coursework=1, max_flops=120)


def test_there_is_nothing_to_resume_after_settling(ledger):
    settle(ledger, reserve(ledger), 1, 1)
    assert ledger.resume("a") is None
    assert ledger.resume("unknown") is None


def test_one_phase_can_be_resumed(ledger):
    first = reserve(ledger, phase="train")
    reserve(ledger, phase="validation")
    assert ledger.resume("a", "train").id == first.id
    assert ledger.resume("a", "test") is None


def test_who_lost_a_reservation_is_told_and_its_spending_is_still_counted(ledger):
    held = reserve(ledger, 100, 300, unit_executed=10, unit_coursework=30)
    taken = ledger.resume("a")
    with pytest.raises(LvloraError, match="no longer held"):
        ledger.update(held, executed=25, coursework=75)
    settle(ledger, taken, 90, 270)
    assert ledger.charged() == Price(90 + 15, 270 + 45)


def run_python(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


HOLD = """
    import sys, time
    from pathlib import Path
    from lvlora.flops.ledger import Ledger
    ledger = Ledger(Path(sys.argv[1]))
    held = ledger.reserve(run="held", phase="train", executed=100, coursework=300, command="train",
                          unit_executed=10, unit_coursework=30)
    ledger.update(held, executed=50, coursework=150)
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_living_process_keeps_its_reservation_and_a_killed_one_stays_charged(ledger):
    child = run_python(HOLD, ledger.path)
    try:
        assert child.stdout.readline() == "ready\n"
        with pytest.raises(LvloraError, match=f"process {child.pid}"):
            ledger.resume("held")
        with pytest.raises(LvloraError, match="still running"):
            ledger.close("held")
    finally:
        child.kill()
    child.wait()
    child.stdout.close()
    with Ledger(ledger.path) as again:
        assert again.charged() == Price(100, 300)
        assert again.resume("held").spent == Price(60, 180)
        assert again.close("held") == Price(70, 210)


WORKER = """
    import os, signal, sys
    from pathlib import Path
    from lvlora.errors import BudgetError
    from lvlora.flops.ledger import Ledger
    path, name, dies = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "dies"
    print("up", flush=True)
    sys.stdin.readline()
    done = refused = 0
    with Ledger(path) as ledger:
        for number in range(12):
            try:
                held = ledger.reserve(run=f"{name}-{number}", phase="train", executed=2**62 + 7,
                                      coursework=1, command="train")
            except BudgetError:
                refused += 1
                continue
            # written before the kill: what was promised must be in the ledger
            os.write(1, f"reserved {name}-{number}\\n".encode())
            if dies and number == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            if number % 2:
                ledger.settle(held, executed=2**61 + number, coursework=1, seconds=0.1,
                              tokens_useful=1, tokens_padded=1)
                os.write(1, f"settled {name}-{number} {2**61 + number}\\n".encode())
    os.write(1, b"finished\\n")
"""


@pytest.mark.parametrize(("limit", "n_workers"), [(60, 8), (20, 4)])
def test_many_processes_reserve_at_once_and_half_are_killed(tmp_path, limit, n_workers):
    unit, path = 2**62 + 7, tmp_path / "ledger.sqlite"
    budget = limit * unit
    with Ledger(path) as ledger:
        ledger.set_budget(budget, "executed")
    os.unlink(path)  # the workers race to make the file, too
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                textwrap.dedent(WORKER),
                str(path),
                f"w{i}",
                "dies" if i % 2 else "lives",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for i in range(n_workers)
    ]
    with Ledger(path) as ledger:
        ledger.set_budget(budget, "executed")
    for worker in workers:
        assert worker.stdout.readline() == "up\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    promised, settled = set(), {}
    for worker in workers:
        out, _ = worker.communicate(timeout=120)
        for line in out.splitlines():
            word, *rest = line.split()
            if word == "reserved":
                promised.add(rest[0])
            elif word == "settled":
                settled[rest[0]] = int(rest[1])
    if limit == 60:
        assert [w.returncode for w in workers].count(-signal.SIGKILL) == n_workers // 2
    assert {w.returncode for w in workers} <= {0, -signal.SIGKILL}
    with Ledger(path) as ledger:
        rows = {row.run: row for row in ledger.rows()}
        charged = ledger.charged().executed
    assert set(rows) == promised
    expected = sum(settled.get(run, unit) for run in promised)
    assert charged == expected <= budget
    # nothing fits any more when the limit is tight, and the sum never passed it on the way
    if limit == 20:
        assert charged + unit > budget


def test_a_ledger_works_on_in_a_forked_child(ledger):
    held = reserve(ledger)
    child = os.fork()
    if child == 0:
        try:
            reserve(ledger, run="child")
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    settle(ledger, held, 1, 1)
    assert [row.run for row in ledger.rows()] == ["a", "child"]


def test_a_missing_ledger_is_only_made_when_wanted(tmp_path):
    with pytest.raises(DataError, match="there is no ledger"):
        Ledger.for_runs(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"\x00" * 4096])
def test_what_is_no_database_is_refused_by_path(tmp_path, content):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"ledger\.sqlite"):
        Ledger(path)
    assert path.read_bytes() == content


def test_someone_elses_database_is_left_alone(tmp_path):
    path = tmp_path / "ledger.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE entry (id INTEGER)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="not lvlora's ledger"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_folder_in_its_place_is_refused(tmp_path):
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(SettingsError):
        Ledger.for_runs(tmp_path)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(DataError):
        Ledger.for_runs(tmp_path / "runs")


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


def test_a_count_that_is_no_number_is_refused(ledger):
    reserve(ledger)
    other = sqlite3.connect(ledger.path)
    other.execute("PRAGMA ignore_check_constraints = ON")
    other.execute("UPDATE entry SET reserved_executed = 'many'")
    other.commit()
    other.close()
    with pytest.raises(DataError, match="damaged"):
        ledger.rows()


def test_a_newer_ledger_is_refused(tmp_path):
    with Ledger.for_runs(tmp_path) as ledger:
        path = ledger.path
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 999")
    other.close()
    with pytest.raises(DataError, match="newer"):
        Ledger(path)


def test_migrations_are_applied_once_and_keep_what_is_there(tmp_path, monkeypatch):
    with Ledger.for_runs(tmp_path) as ledger:
        reserve(ledger, 5, 6)
        path = ledger.path
    more = (*migrations.MIGRATIONS, ("ALTER TABLE entry ADD COLUMN note TEXT DEFAULT 'x'",))
    monkeypatch.setattr(migrations, "MIGRATIONS", more)
    for _ in range(2):
        with Ledger(path) as ledger:
            assert ledger.charged() == Price(5, 6)
            settle(ledger, reserve(ledger, 5, 6, run="new"), 0, 0)
    other = sqlite3.connect(path)
    assert other.execute("PRAGMA user_version").fetchone() == (len(more),)
    other.close()


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path, monkeypatch):
    with Ledger.for_runs(tmp_path) as ledger:
        reserve(ledger, 5, 6)
        path = ledger.path
    bad = (*migrations.MIGRATIONS, ("CREATE TABLE fine (x)", "CREATE TABLE entry (x)"))
    monkeypatch.setattr(migrations, "MIGRATIONS", bad)
    with pytest.raises(DataError):
        Ledger(path)
    monkeypatch.undo()
    with Ledger(path) as ledger:
        assert ledger.charged() == Price(5, 6)


def test_it_writes_ahead_and_outlives_power_failures(ledger):
    db = ledger.connection()
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_the_table(ledger):
    ledger.set_budget(10_000, "coursework")
    ledger.record_peak("cpu", "float32", 50.0)
    ledger.record_peak("cpu", "bfloat16", 200.0)
    settle(ledger, reserve(ledger, device="cpu", dtype="float32", model="m"), 60, 180, seconds=3.0)
    settle(ledger, reserve(ledger, device="cpu"), 60, 180, seconds=3.0)
    settle(ledger, reserve(ledger, device="gpu"), 60, 180, seconds=3.0)
    reserve(ledger, run="open")
    table = ledger.table()
    assert table.total == Flops(coursework=840, executed=280)
    assert (table.budget, table.convention, table.left) == (10_000, "coursework", 9160)
    assert [r.utilisation for r in table.runs] == [0.4, 0.1, None, None]
    assert [r.share_of_budget for r in table.runs] == [0.018, 0.018, 0.018, 0.03]
    assert table.runs[3].status == "open"
    assert sum(row.executed for row in table.runs) == 280


def test_a_clock_that_jumps_changes_no_sum(ledger, monkeypatch):
    from lvlora.flops import ledger as module

    held = reserve(ledger)
    for now in ("1970-01-01T00:00:00.000+00:00", "2999-01-01T00:00:00.000+00:00"):
        monkeypatch.setattr(module, "_now", lambda now=now: now)
        reserve(ledger, run=now[:4])
        ledger.update(held, executed=7, coursework=7)
    settle(ledger, held, 60, 180)
    rows = ledger.rows()
    assert [row.run for row in rows][1:] == ["1970", "2999"]  # in the order they were made
    assert rows[0].spent.executed == 60
    assert ledger.charged() == sum((row.charged for row in rows), NOTHING)


def test_an_empty_table_without_a_budget(ledger):
    table = ledger.table()
    assert table.runs == []
    assert table.budget is table.left is None


def test_waiting_for_another_writer_ends_with_an_error(ledger, monkeypatch):
    monkeypatch.setattr("lvlora.flops.ledger_file._BUSY_SECONDS", 0.05)
    ledger.disconnect()
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LvloraError, match="another process") as caught:
        reserve(ledger)
    assert caught.value.exit_code == 1
    other.execute("ROLLBACK")
    other.close()
    reserve(ledger)


def test_a_full_disk_leaves_the_ledger_as_it_was(ledger):
    reserve(ledger, 5, 6)
    db = ledger.connection()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LvloraError, match="cannot be written") as caught:
        reserve(ledger, 0, 0, command="x" * 1_000_000)
    assert caught.value.exit_code == 1
    assert ledger.charged() == Price(5, 6)
    ledger.disconnect()
    assert ledger.charged() == Price(5, 6)


def test_names_are_only_ever_data(ledger):
    name = "x'); DROP TABLE entry; --"
    reserve(ledger, run=name)
    assert ledger.rows()[0].run == name
    assert ledger.close(name) == Price(100, 300)


@settings(max_examples=25)
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
