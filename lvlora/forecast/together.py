"""Rivals' forecasts, and those of models and rivals together, for series whose future nobody knows.

`series.contest` says who weighs how much; here its parts of histories are forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from lvlora.errors import SettingsError
from lvlora.flops.budget import NOTHING, Price
from lvlora.forecast.forecast import Forecast, continue_time
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.sampling import Sampling
from lvlora.series import contest
from lvlora.series.dataset import Dataset, FloatArray, Series
from lvlora.series.rivals import BestEquations, Prediction, Rival, lone_rivals

_AT_A_TIME = 32
"""Series whose parts a model forecasts together."""

Progress = Callable[[int], None]


def spoken(name: str) -> str:
    """A rival's name as it is typed: ``sindy-on-rates``."""
    return name.replace(" ", "-")


def rival_called(word: str, dataset: Dataset) -> Rival:
    """A new rival by its name as it is typed.

    Raises:
        SettingsError: it cannot forecast such data, or its package is not installed.
    """
    (rival,) = (rival for rival in lone_rivals() if spoken(rival.name) == word)
    if not rival.applies(dataset):
        raise SettingsError(
            f"--forecaster {word}: cannot forecast these data here",
            "Fitted equations need two positive variables, SINDy on rates positive ones; autoarima "
            "and fracast-0 need pip install 'lvlora[rivals]'.",
        )
    return rival


def of_rival(
    rival: Rival,
    histories: Sequence[Series],
    horizon: int,
    n_samples: int,
    progress: Progress | None = None,
) -> list[Prediction]:
    """What it says of each history's future.

    Args:
        n_samples: futures of each; 0 for the point forecast alone.
        progress: told how many series were finished.
    """
    found = []
    for history in histories:
        ahead = continue_time(history.time, horizon, history.calendar)
        time = np.concatenate([history.time, ahead])
        found.append(rival.predict(time, history.values, n_samples, history.id))
        if progress is not None:
            progress(1)
    return found


def members(dataset: Dataset) -> list[Rival]:
    """New rivals that take part in a forecast of all together: no one who only chooses."""
    return [
        rival
        for rival in lone_rivals()
        if rival.applies(dataset) and not isinstance(rival, BestEquations)
    ]


def past_of_rival(rival: Rival, history: Series) -> list[float]:
    """Its `contest.loss` on the end of a history, from each of the earlier origins."""
    return [
        contest.loss(
            history.values, rival.predict(history.time, history.values[:n], 0, history.id).point
        )
        for n in contest.earlier_origins(len(history))
    ]


def groups(histories: Sequence[Series], size: int) -> list[tuple[int, int, list[int]]]:
    """Which parts of histories a model forecasts together: of one origin and one length.

    Returns:
        for each group the number of the origin, the steps to forecast, and positions of up to
        ``size`` histories.
    """
    found = []
    for k in range(len(contest.SHARES)):
        by_horizon: dict[int, list[int]] = {}
        for i, history in enumerate(histories):
            origins = contest.earlier_origins(len(history))
            if k < len(origins):
                by_horizon.setdefault(len(history) - origins[k], []).append(i)
        for horizon, of in by_horizon.items():
            found += [(k, horizon, of[i : i + size]) for i in range(0, len(of), size)]
    return found


def before(history: Series, horizon: int) -> Series:
    """A history without its last steps."""
    return history.steps(0, len(history) - horizon)


def past_of_model(
    forecaster: Forecaster,
    histories: Sequence[Series],
    sampling: Sampling,
    progress: Progress | None = None,
) -> FloatArray:
    """(n, W) `contest.loss` of a model's medians on the ends of histories; NaN for a short one."""
    found = np.full((len(histories), len(contest.SHARES)), np.nan)
    for k, horizon, group in groups(histories, _AT_A_TIME):
        seen = [before(histories[i], horizon) for i in group]
        for i, forecast in zip(
            group, forecaster.predict(seen, horizon, sampling, progress=progress), strict=True
        ):
            found[i, k] = contest.loss(histories[i].values, forecast.median)
    return found


def past_at_most(forecaster: Forecaster, histories: Sequence[Series], sampling: Sampling) -> Price:
    """The most that `past_of_model` can cost."""
    price = NOTHING
    for _, horizon, group in groups(histories, _AT_A_TIME):
        seen = [before(histories[i], horizon) for i in group]
        price += forecaster.at_most(seen, horizon, sampling)
    return price


def as_forecast(history: Series, prediction: Prediction, time: FloatArray) -> Forecast:
    """A prediction as what ``lvlora forecast`` shows; without samples it is its only future."""
    samples = prediction.point[None] if prediction.samples is None else prediction.samples
    return Forecast(
        series=history.id,
        time=time,
        samples=samples,
        scale=None,
        context=len(history),
        calendar=history.calendar,
        history=history,
        point=prediction.point,
    )
