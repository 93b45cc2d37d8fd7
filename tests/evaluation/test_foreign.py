"""Forecasts of other programs: what is read, what is refused."""

import math
import resource
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lvlora.data.metrics.scores import crps_from_samples
from lvlora.errors import DataError
from lvlora.evaluation.foreign import (
    N_LEVELS,
    ForeignForecasts,
    quantile_function,
    read_forecasts,
)

IDS, VARIABLES, HORIZON = ("a", "b,1"), ("prey", "predator"), 3
TASK = "from10-to3-0123456789abcdef"


def value(series: str, step: int, variable: str, member: float) -> float:
    return 100 * IDS.index(series) + 10 * step + VARIABLES.index(variable) + member


def rows(kind: str = "quantile", members: tuple[float, ...] = (0.1, 0.5, 0.9)) -> list[list[str]]:
    head = ["series", "step", "variable", *([kind] if kind else []), "value"]
    found = [head]
    for s, h, v, m in product(IDS, (1, 2, 3), VARIABLES, members):
        found.append([s, str(h), v, *([f"{m:g}"] if kind else []), repr(value(s, h, v, m))])
    return found


def text(table: list[list[str]]) -> str:
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in table]
    return "".join(",".join(row) + "\n" for row in quoted)


Reader = Callable[[list[list[str]] | str], ForeignForecasts]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def from_table(table: list[list[str]] | str) -> ForeignForecasts:
        path = tmp_path / "forecasts.csv"
        path.write_text(table if isinstance(table, str) else text(table), encoding="utf-8")
        return read_forecasts(path, TASK, IDS, VARIABLES, HORIZON)

    return from_table


def test_quantiles_are_read_in_any_order(read: Reader) -> None:
    head, *body = rows()
    order = np.random.default_rng(0).permutation(len(body))
    found = read([head, *(body[i] for i in order)])
    assert found.point.shape == (2, 3, 2)
    assert found.point[1, 2, 0] == value("b,1", 3, "prey", 0.5)
    assert found.are_quantiles
    assert found.samples is not None
    assert found.samples.shape == (2, N_LEVELS, 3, 2)
    low, high = np.quantile(found.samples, [0.1, 0.9], axis=1)
    np.testing.assert_allclose(low[0, 0], [value("a", 1, v, 0.1) for v in VARIABLES], atol=1e-9)
    np.testing.assert_allclose(high[0, 0], [value("a", 1, v, 0.9) for v in VARIABLES], atol=1e-9)


def test_samples_have_their_median(read: Reader) -> None:
    found = read(rows("sample", (0, 1, 5)))
    assert found.samples is not None
    assert found.samples.shape == (2, 3, 3, 2)
    assert found.point[0, 0, 0] == value("a", 1, "prey", 1)
    assert not found.are_quantiles


def test_medians_alone_are_a_forecast(read: Reader) -> None:
    found = read(rows("", (0.5,)))
    assert found.samples is None
    assert found.point[0, 1, 1] == value("a", 2, "predator", 0.5)


def test_the_score_of_quantiles_is_that_of_their_distribution() -> None:
    """Of a normal distribution told by 19 quantiles: Gneiting & Raftery 2007, eq. 21."""
    from scipy.stats import norm

    levels = np.arange(1, 20) / 20
    found = quantile_function(levels, norm.ppf(levels)[None, :, None, None])
    for truth in (-1.0, 0.0, 0.7):
        score = crps_from_samples(np.full((1, 1, 1), truth), found, fair=False)
        exact = truth * (2 * norm.cdf(truth) - 1) + 2 * norm.pdf(truth) - 1 / math.sqrt(math.pi)
        assert score[0, 0, 0] == pytest.approx(exact, rel=0.03)


def test_quantiles_that_cross_are_put_in_order(read: Reader) -> None:
    head, *body = rows()
    crossed = [[*row[:4], "7" if row[3] == "0.1" else "1"] for row in body]
    found = read([head, *crossed])
    assert found.samples is not None
    assert np.all(np.diff(found.samples, axis=1) >= 0)


def test_parquet_says_the_same(tmp_path: Path, read: Reader) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    head, *body = rows()
    kinds = (str, int, str, float, float)
    columns = {
        name: [kind(row[i]) for row in body]
        for i, (name, kind) in enumerate(zip(head, kinds, strict=True))
    }
    path = tmp_path / "forecasts.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    theirs = read_forecasts(path, TASK, IDS, VARIABLES, HORIZON)
    np.testing.assert_array_equal(theirs.point, read(rows()).point)
    path.write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_forecasts(path, TASK, IDS, VARIABLES, HORIZON)


def without_row(table: list[list[str]]) -> list[list[str]]:
    return [*table[:5], *table[6:]]


def with_cell(row: int, column: int, cell: str) -> Callable[[list[list[str]]], list[list[str]]]:
    def change(table: list[list[str]]) -> list[list[str]]:
        changed = [list(r) for r in table]
        changed[row][column] = cell
        return changed

    return change


WRONG: dict[str, tuple[Callable[[list[list[str]]], list[list[str]] | str], str]] = {
    "missing row": (without_row, "no row for series a, quantile 0.5, step 1, variable predator$"),
    "missing series": (lambda t: [r for r in t if r[0] != "a"], "no row for series a.*17 more"),
    "twice": (lambda t: [*t, t[4]], "row 38, column 'series': 'a' repeats an earlier row"),
    "wrong id": (with_cell(4, 0, "aa"), r"row 5, column 'series': 'aa' is none of a"),
    "step 4": (with_cell(4, 1, "4"), "row 5, column 'step': '4.0' is none of"),
    "nan": (with_cell(4, 4, "nan"), "row 5, column 'value': 'nan' is not a number"),
    "empty": (with_cell(4, 4, ""), "row 5, column 'value': 'nan' is not a number"),
    "a word": (with_cell(4, 4, "high"), "row 5, column 'value': 'high' is not a number"),
    "quantile 1": (with_cell(4, 3, "1"), "row 5, column 'quantile': '1.0' is not between"),
    "no median": (lambda t: [r for r in t if r[3] != "0.5"], "no quantile 0.5"),
    "strange column": (
        lambda t: [[*t[0], "mean"], *([*r, "1"] for r in t[1:])],
        "columns are .*, mean$",
    ),
    "no column": (lambda t: [r[1:] for r in t], "columns are step, variable, quantile, value$"),
    "both kinds": (
        lambda t: [[*t[0], "sample"], *([*r, "1"] for r in t[1:])],
        "columns are .*, value, sample$",
    ),
    "only a head": (lambda t: t[:1], "no quantile 0.5"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said_in_a_line(wrong: str, read: Reader) -> None:
    change, expected = WRONG[wrong]
    with pytest.raises(DataError, match=expected) as caught:
        read(change(rows()))
    assert "\n" not in caught.value.message


def for_task(name: str) -> list[list[str]]:
    head, *body = rows()
    return [[*head, "task"], *([*row, name] for row in body)]


def test_the_task_is_compared(read: Reader) -> None:
    assert read(for_task(TASK)).names_task
    assert not read(rows()).names_task
    for other in ("from20-to3-0123456789abcdef", "mine"):
        with pytest.raises(DataError, match=f"'{other}'"):
            read(for_task(other))
    mixed = for_task(TASK)
    mixed[3][-1] = "mine"
    with pytest.raises(DataError, match="'mine'"):
        read(mixed)


def test_a_long_text_of_many_rows_is_in_memory_once(tmp_path: Path) -> None:
    """A dictionary of Parquet names it once: 8 GB in a file of less than a megabyte."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    n_rows = 8_000
    name = "x" * 1_000_000
    same = pyarrow.DictionaryArray.from_arrays(np.zeros(n_rows, dtype=np.int32), [name])
    ones = np.ones(n_rows)
    path = tmp_path / "bomb.parquet"
    columns = {"series": same, "variable": same, "step": ones, "value": ones}
    parquet.write_table(pyarrow.table(columns), path)
    assert path.stat().st_size < 1_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match="row 1, column 'series'"):
        read_forecasts(path, TASK, IDS, VARIABLES, HORIZON)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**20  # KiB
