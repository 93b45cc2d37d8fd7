"""Uneven time steps: told to the model, resampled to even ones, or ignored?

Simulated systems of seeds of their own, noted at uneven times: half of their steps at random, or
each step up to 40 % of a step too early or too late. The last steps are forecast.

python scripts/compare_times.py --model bundled
"""

from __future__ import annotations

import argparse

import numpy as np

from lvlora.forecast.asked import TimesRead
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.open_model import open_model
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import FloatArray, Series
from lvlora.series.disturbance import Disturbance
from lvlora.series.histories import cut
from lvlora.series.simulate import simulate
from lvlora.settings.data import SimulateSettings, System

SYSTEMS: tuple[System, ...] = ("rosenzweig-macarthur", "self-limited", "lotka-volterra")
STEP, FINER = 2.0, 8
"""Time units between even steps, and simulated steps in each."""
JITTER = 0.4
WAYS: tuple[TimesRead, ...] = ("told", "resampled", "ignored")


def main() -> None:
    """Print MAE by sampling, noise and way, and how it differs from ignoring, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--series", type=int, default=16, help="of each system")
    parser.add_argument("--context", type=int, default=50)
    parser.add_argument("--horizon", type=int, default=20)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.05])
    parser.add_argument("--samples", type=int, default=6)
    parser.add_argument("--seed", type=int, default=9301)
    args = parser.parse_args()
    forecaster = open_model(args.model)
    sampling = Sampling(samples=args.samples, views=min(2, args.samples))
    for sampled in ("half kept", "jittered"):
        truths = uneven(sampled, args.series, args.context + args.horizon, args.seed)
        cuts = [cut(s, args.context, args.horizon) for s in truths]
        for noise in args.noise:
            noisy = Disturbance(noise=noise, seed=args.seed)
            seen = [noisy.of(c.history) if noise else c.history for c in cuts]
            errors: dict[str, FloatArray] = {}
            for way in WAYS:
                forecaster.times = way
                errors[way] = mistakes(
                    [f.median for f in forecaster.predict(seen, args.horizon, sampling)],
                    [c.future for c in cuts],
                )
            if sampled == "half kept":
                forecaster.times = "ignored"
                errors["gaps"] = np.array(
                    [
                        with_gaps(forecaster, h, c.future, sampling)
                        for h, c in zip(seen, cuts, strict=True)
                    ]
                )
            cells = [told(way, found, errors["ignored"]) for way, found in errors.items()]
            print(f"| {sampled} | {100 * noise:g} % | " + " | ".join(cells) + " |", flush=True)


def uneven(sampled: str, n_series: int, n_steps: int, seed: int) -> list[Series]:
    """Series of so many steps of all systems, noted at uneven times."""
    n_even = 2 * n_steps if sampled == "half kept" else n_steps
    found = []
    for i, system in enumerate(SYSTEMS):
        made = simulate(
            SimulateSettings(
                system=system,
                n_series=n_series,
                n_steps=(n_even + 1) * FINER + 1,
                duration=(n_even + 1) * STEP,
                seed=seed + i,
            )
        )
        for k, series in enumerate(made):
            rng = np.random.default_rng((seed, i, k))
            if sampled == "half kept":
                at = FINER * np.sort(rng.choice(n_even, n_steps, replace=False))
            else:
                moved = rng.uniform(-JITTER, JITTER, n_steps)
                at = np.round(FINER * (1 + np.arange(n_steps) + moved)).astype(int)
            found.append(Series(f"{system} {series.id}", series.time[at], series.values[at]))
    return found


def mistakes(forecasts: list[FloatArray], futures: list[Series]) -> FloatArray:
    """(n,) mean absolute error of each forecast."""
    return np.array([np.abs(f - t.values).mean() for f, t in zip(forecasts, futures, strict=True)])


def with_gaps(forecaster: Forecaster, history: Series, future: Series, sampling: Sampling) -> float:
    """The error where the steps that were left out are missing values, as tables are read."""
    begin = history.time[0]
    seen, asked = (np.round((t - begin) / STEP).astype(int) for t in (history.time, future.time))
    values = np.full((seen[-1] + 1, history.values.shape[1]), np.nan)
    values[seen] = history.values
    whole = Series(history.id, begin + STEP * np.arange(len(values)), values)
    ahead = asked - seen[-1]
    (found,) = forecaster.predict([whole], int(ahead[-1]), sampling)
    return float(np.abs(found.median[ahead - 1] - future.values).mean())


def told(way: str, found: FloatArray, ignored: FloatArray) -> str:
    """MAE, and the mean difference to ignoring with its standard error."""
    gap = found - ignored
    error = gap.std(ddof=1) / np.sqrt(len(gap))
    beside = "" if way == "ignored" else f" ({gap.mean():+.3f} ± {error:.3f})"
    return f"{way} {found.mean():.3f}{beside}"


if __name__ == "__main__":
    main()
