"""The page of an evaluation: all that its record holds, on any screen, and nothing else."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored import score_rival

from lvlora.answers import Price
from lvlora.data.dataset import Dataset, Series
from lvlora.data.splits import split_of
from lvlora.evaluation.comparison import by_cluster, compare
from lvlora.evaluation.document import rebuild
from lvlora.evaluation.folder import EvaluationFolder
from lvlora.evaluation.job import Job
from lvlora.evaluation.protocol import Protocol, task
from lvlora.evaluation.record import record_of
from lvlora.evaluation.scores import Entry, score_floor
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.likelihood import Score
from lvlora.forecast.rivals import ContextMean, LastValue, SeasonalNaive
from lvlora.forecast.sampling import Sampling
from lvlora.runs import EVALUATION

LEVELS = (0.1, 0.5, 0.9)
EVIL = "<script>document.title = 'broken'</script>"


def document_of(
    n: int = 9,
    horizon: int = 10,
    variables: tuple[str, ...] = ("prey", EVIL),
    gap: bool = False,
    growth: float = 1.0,
) -> dict[str, Any]:
    """A record of two models, three rivals and the floor on waves.

    Args:
        growth: how many times larger each series is than the one before.
    """
    rng = np.random.default_rng(0)
    time = np.arange(40.0 + horizon)
    phases = np.arange(len(variables)) * 0.7
    series = []
    for i in range(n):
        values = (3 + 2 * np.sin(time[:, None] / (2 + 0.3 * i) + phases)) * growth**i
        if gap:
            values[-1, 0] = np.nan
        series.append(Series(f"s{i}", time, values))
    data = Dataset(tuple(series), variables, "waves.csv")
    part = task(data, Protocol("validation", 40, horizon))
    entries = []
    for k, name in enumerate(("base + tuned", "base zero-shot")):
        noise = rng.normal(0, 0.1 + 0.2 * k, (n, 7, horizon, len(variables)))
        samples = np.nan_to_num(part.truth)[:, None] + noise
        point = np.median(samples, axis=1)
        facts = {"seconds": 3.0 + k, "flops": Price(10**12 * (k + 1), 2 * 10**12)}
        if k == 0:
            facts["nll"] = Score.of(np.full((n, horizon, len(variables)), -1.25))
            facts["calibrated_coverage"] = {"0.8": 0.8125}
            facts["training_flops"] = Price(7 * 10**13, 10**14)
        entries.append(Entry.of(name, "model", part, point, samples, LEVELS, **facts))
    for rival in (LastValue(), ContextMean(), SeasonalNaive()):
        entries.append(score_rival(rival, part, data, LEVELS))
    floor = score_floor(part, 2, LEVELS)
    entries.append(floor)
    compare(entries)
    clusters = {s.id: "slow" if i % 3 else "fast, damped oscillation" for i, s in enumerate(series)}
    names = by_cluster(entries, part, clusters)
    settings = EvaluateSettings(context=40, horizon=horizon, samples=7)
    split, folder = split_of(data, settings), EvaluationFolder(None, "key")
    job = Job(settings, data, "ab" * 32, split, data, part, clusters, folder, Sampling.of(settings))
    record = record_of(entries, job, names)
    return {**record.model_dump(mode="json"), "created": "2026-01-02T03:04:05+00:00"}


def written(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / EVALUATION).write_text(json.dumps(record, allow_nan=False), encoding="utf-8")
    rebuild(folder)
    return folder / "report.html"


def words(page: Path) -> str:
    text = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(text.split())


@pytest.fixture(scope="module")
def record() -> dict[str, Any]:
    return document_of()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, record: dict[str, Any]) -> Path:
    return written(tmp_path_factory.mktemp("evaluation") / "e", record)


def test_it_tells_what_was_found(record: dict[str, Any], page: Path) -> None:
    assert "<script" not in page.read_text(), "a variable's name is text"
    text = words(page)
    for forecaster in record["forecasters"]:
        assert forecaster["name"] in text
    for word in (
        "10 steps from 40",
        "waves.csv",
        "Differences",
        "fast, damped oscillation, 3 series",
        "inside 80 %",
        "FLOPs executed",
        "Only 9 series were scored",
        "2026-01-02",
        "MAE, prey",
        "7×10¹³",
        "what the rounding floor is",
        "What another training seed would do",
    ):
        assert word in text, word
    figures = {p.name for p in (page.parent / "figures").iterdir()}
    assert figures == {
        "errors.svg",
        "forecasts.svg",
        "error-by-step.svg",
        "cost-training.svg",
        "cost-seconds.svg",
    }


def test_it_tells_of_likelihood_and_of_calibrated_intervals(page: Path) -> None:
    head, *rows = page_rows(page, "Uncertainty")
    tuned, plain = (
        dict(zip(head, next(r for r in rows if r[0] == name), strict=True))
        for name in ("base + tuned", "base zero-shot")
    )
    assert (tuned["NLL/D"], tuned["inside calibrated 80 %"]) == ("-1.25", "81.2 %")
    assert (plain["NLL/D"], plain["inside calibrated 80 %"]) == ("–", "–")
    assert plain["inside 80 %"].endswith(" %")


def test_it_tells_of_skill_and_dynamics(record: dict[str, Any], page: Path) -> None:
    text = words(page)
    for word in ("Win rate", "skill", "win rate", "valid steps", "D_stsp"):
        assert word in text, word
    by_name = {f["name"]: f for f in record["forecasters"]}
    assert by_name["seasonal naive"]["skill"] == {"value": 0, "low": 0, "high": 0}
    assert by_name["rounding floor"]["skill"] is None
    tuned = by_name["base + tuned"]
    interval = f"{tuned['skill']['value']:.3f} ({tuned['skill']['low']:.3f} to"
    assert interval in text
    assert tuned["valid_steps"] > by_name["context mean"]["valid_steps"]


@pytest.mark.usefixtures("figures_not_drawn")
def test_scaled_errors_lead_where_scales_are_far_apart(
    record: dict[str, Any], page: Path, tmp_path: Path
) -> None:
    assert record["led_by"] == "mae"
    assert record["scale_spread"] < 100
    assert "MASE) lead" not in words(page)
    mixed = document_of(growth=100.0)
    assert mixed["led_by"] == "mase"
    assert mixed["scale_spread"] > 1e10
    text = words(written(tmp_path / "e", mixed))
    assert "MASE) lead, in which all count alike" in text
    by_name = {f["name"]: f for f in mixed["forecasters"]}
    assert f"base + tuned: MASE {by_name['base + tuned']['mase']:.4g}" in text
    table = page_rows(tmp_path / "e" / "report.html", "Errors, the best MASE first")
    errors = [by_name[row[0]]["mase"] for row in table[1:]]
    assert table[0][1] == "MASE"
    assert errors == sorted(errors)
    maes = [by_name[row[0]]["mae"] for row in table[1:]]
    assert maes != sorted(maes), "the other order would have passed"


def page_rows(page: Path, caption: str) -> list[list[str]]:
    """The texts of a table's cells."""
    table = page.read_text().split(caption)[1].split("</table>")[0]
    return [
        [re.sub("<[^>]*>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)]
        for row in table.split("</tr>")[:-1]
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 1, "horizon": 1, "variables": ("x",)},
        {"n": 3, "variables": ("a", "b", "c"), "gap": True},
    ],
)
def test_any_evaluation_has_a_page(tmp_path: Path, changes: dict[str, Any]) -> None:
    document = document_of(**changes)
    json.dumps(document, allow_nan=False)
    assert "nan" not in words(written(tmp_path / "e", document)).lower().split()


def test_drawn_are_the_best_middle_and_worst(record: dict[str, Any]) -> None:
    tuned = record["drawn"]
    assert tuned["forecaster"] == "base + tuned"
    assert [s["why"] for s in tuned["series"]] == ["best", "middle", "worst"]
    errors = [s["mae"] for s in tuned["series"]]
    assert errors == sorted(errors)
    low, high, lower, upper = tuned["series"][0]["bands"][0]
    assert (low, high) == pytest.approx((0.1, 0.9))
    assert np.all(np.array(lower) <= np.array(upper))
