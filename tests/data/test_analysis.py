"""Analysis: the coursework's figures, known dynamics, and odd data sets that must not break it."""

import json
from pathlib import Path

import numpy as np
import pytest

from lvlora.data.analysis import analyze, check_quality, measure
from lvlora.data.dataset import Dataset, Series
from lvlora.data.files import read_dataset
from lvlora.data.settings import AnalyzeSettings, SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.settings.shared import InputSettings

SHARED = Path(__file__).parents[3] / "shared" / "data" / "lotka_volterra_trainval.h5"
TIME = np.linspace(0, 200, 100)


def of(*values, variables=None, time=TIME) -> Dataset:
    """A data set of series with these values."""
    series = tuple(Series(str(i), time[: len(v)], np.asarray(v)) for i, v in enumerate(values))
    names = variables or tuple(f"v{i}" for i in range(series[0].values.shape[1]))
    return Dataset(series, names)


def wave(period: float, lag: float, damping: float = 0.0, time=TIME):
    """Two positive oscillations, the second ``lag`` time units after the first."""
    phase = 2 * np.pi / period
    size = np.exp(-damping * time / period)
    return size[:, None] * (
        2 + np.column_stack([np.cos(phase * (time - 7)), np.cos(phase * (time - 7 - lag))])
    )


def plain(dataset: Dataset, **settings) -> dict:
    """The analysis after a round trip through strict JSON."""
    answer = analyze(dataset, AnalyzeSettings(**settings)).answer
    return json.loads(answer.model_dump_json())


def test_known_periods_lags_and_damping():
    result = plain(of(wave(30, 6), wave(40, 8, 0.1), wave(50, 10)))
    assert result["periods"]["v0"]["mean_time"] == pytest.approx(40, rel=0.01)
    assert result["periods"]["v1"]["median_time"] == pytest.approx(40, rel=0.01)
    assert result["periods"]["v0"]["mean_samples"] == pytest.approx(40 / TIME[1], rel=0.01)
    assert result["phase_lag"]["fraction_of_period"] == pytest.approx(0.2, abs=0.005)
    assert result["phase_lag"]["of"] == ["v1", "v0"]
    assert result["amplitudes"]["v0"]["shrinking"] == pytest.approx(1 / 3)
    assert result["amplitudes"]["v0"]["growing"] == 0


def has_published_dynamics(analysis: dict, rel: float, lag: float, shrinking: float) -> None:
    """Check periods, lags and damping against the coursework's, with these tolerances."""
    for name in ("prey", "predator"):
        assert analysis["periods"][name]["mean_time"] == pytest.approx(43.6, rel=rel)
        assert analysis["periods"][name]["mean_samples"] == pytest.approx(21.6, rel=rel)
    assert analysis["phase_lag"]["mean_time"] == pytest.approx(8.5, rel=rel)
    assert analysis["phase_lag"]["fraction_of_period"] == pytest.approx(0.211, abs=lag)
    assert analysis["amplitudes"]["prey"]["shrinking"] == pytest.approx(0.677, abs=shrinking)


@pytest.mark.slow
def test_simulated_data_have_the_published_period_and_lag():
    analysis = plain(simulate(SimulateSettings(n_series=600, seed=1)))
    has_published_dynamics(analysis, rel=0.06, lag=0.01, shrinking=0.08)


@pytest.mark.skipif(not SHARED.exists(), reason="the coursework's data are not here")
def test_the_coursework_data():
    result = plain(read_dataset(SHARED, InputSettings()))
    has_published_dynamics(result, rel=0.009, lag=0.002, shrinking=0.01)
    shares = [c["share"] for c in result["clusters"]]
    assert shares == pytest.approx([0.693, 0.149, 0.146, 0.012], abs=0.03)
    assert result["quality"]["n_duplicates"] == result["quality"]["missing"] == 0
    assert result["quality"]["regular"]
    assert result["summary"]["prey"]["mean"] == pytest.approx(1.698, abs=0.01)
    initial = result["initial_final"]["predator"]["initial"]
    assert 0.8 <= initial["min"] <= initial["max"] <= 1.2


def test_quality_finds_what_is_wrong():
    time = np.array([0.0, 1, 2, 4])
    good = np.array([[1.0, 2], [2, 3], [0, 1], [-1, np.nan]])
    flat = np.array([[1.0, 2], [1, 3], [1, 1], [1, 0]])
    dataset = Dataset(
        (
            Series("a", time, good),
            Series("b", time[:3], flat[:3]),
            Series("c", time.copy(), good.copy()),
            Series("d", time, np.full((4, 2), np.nan)),
        ),
        ("x", "y"),
    )
    quality = check_quality(dataset)
    assert quality.duplicates == [("c", "a")]
    assert quality.constant == [("b", "x"), ("d", "x"), ("d", "y")]
    assert (quality.missing, quality.negative, quality.zero) == (10, 2, 2)
    assert (quality.shortest, quality.longest) == (3, 4)
    assert not quality.regular
    assert not quality.same_times
    assert quality.interval == 1


def test_clusters_tell_kinds_apart_and_name_them():
    rng = np.random.default_rng(0)
    fast = [wave(p, 0.2 * p) for p in rng.uniform(15, 18, 12)]
    damped = [4 * wave(p, 0.2 * p, 0.3) for p in rng.uniform(40, 45, 8)]
    still = [np.full((100, 2), 3.0) + TIME[:, None] * 0.01 * r for r in rng.uniform(1, 2, 4)]
    analysis = analyze(of(*fast, *damped, *still), AnalyzeSettings(clusters=3))
    clusters = analysis.clustering.clusters
    assert [c.size for c in clusters] == [12, 8, 4]
    assert len({tuple(analysis.clustering.labels[s]) for s in (slice(12), slice(12, 20))}) == 2
    assert "sustained" in clusters[0].name
    assert "damped" in clusters[1].name
    assert "large" in clusters[1].name
    assert clusters[2].name == "no oscillation"
    assert analysis.clustering.silhouette > 0.6


def test_cluster_names_differ_and_shares_add_up():
    result = plain(simulate(SimulateSettings(n_series=80)), clusters=8)["clusters"]
    names = [c["name"] for c in result]
    assert len(set(names)) == 8
    assert any(name.endswith("oscillation 2") for name in names)
    assert sum(c["share"] for c in result) == pytest.approx(1)
    sizes = [c["size"] for c in result]
    assert sizes == sorted(sizes, reverse=True)


ODD = {
    "one series": of(wave(30, 6)),
    "two samples": of(np.array([[1.0, 2], [2, 1]])),
    "one variable": of(wave(30, 6)[:, :1], wave(20, 6)[:, :1]),
    "five variables": of(
        *(np.hstack([wave(p, 6), wave(20, 3), wave(9, 1)[:, :1]]) for p in (9, 30))
    ),
    "constant": of(np.ones((50, 2)), np.zeros((50, 2))),
    "all missing": of(np.full((50, 2), np.nan), wave(30, 6)),
    "nothing but missing": of(np.full((50, 2), np.nan)),
    "copies": of(*[wave(30, 6)] * 6),
    "negative": of(-wave(30, 6), wave(40, 6) - 3),
    "huge": of(1e99 * wave(30, 6), wave(30, 6)),
    "all huge": of(1e100 * wave(30, 6) / 3, -1e99 * wave(20, 6)),
    "tiny": of(1e-300 * wave(30, 6), 5e-324 * np.round(wave(30, 6))),
    "uneven times": of(wave(30, 6), time=np.cumsum(np.random.default_rng(0).random(100)) * 4),
    "gaps": simulate(SimulateSettings(n_series=5, gaps=0.3, noise=0.2)),
    "different lengths": of(wave(30, 6), wave(30, 6)[:40], wave(30, 6)[:2]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_data_do_not_break_it(name):
    result = plain(ODD[name])
    assert sum(c["size"] for c in result["clusters"]) == len(ODD[name])
    assert result["quality"]["n_series"] == len(ODD[name])


def test_gaps_hardly_move_the_period():
    clean = measure(simulate(SimulateSettings(n_series=20)))
    gappy = measure(simulate(SimulateSettings(n_series=20, gaps=0.1)))
    ratio = gappy.periods[:, 0] / clean.periods[:, 0]
    assert np.nanmedian(ratio) == pytest.approx(1, abs=0.02)
