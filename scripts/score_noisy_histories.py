"""Rivals on simulated systems whose histories hide something and whose futures do not.

python scripts/score_noisy_histories.py --noise 0.02 0.05 0.1
python scripts/score_noisy_histories.py --noise 0 --as-text
python scripts/score_noisy_histories.py --noise 0 --as-text --prey-alone --model bundled

``--as-text`` rounds histories as a language model's text does: it shows what two decimals cost
those who read more.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.sampling import Sampling
from lvlora.model.catalogue import resolve
from lvlora.model.devices import choose
from lvlora.model.loading import load
from lvlora.series.dataset import FloatArray, Series
from lvlora.series.rivals import default_rivals
from lvlora.series.simulate import simulate
from lvlora.settings.data import SimulateSettings
from lvlora.text.scaling import of_history

CONTEXT, HORIZON = 50, 50
DECIMALS = 2
SAMPLING = Sampling(samples=20, views=4)
ENDS = (0.025, 0.975)
_AT_A_TIME = 8
NAMES = (
    "sindy on rates",
    "sindy on levels",
    "nvar",
    "gaussian process",
    "s-map",
    "echo state network",
    "var on logs",
    "context parroting",
)


def as_text(history: Series) -> Series:
    """The history with its numbers rounded as the text has them."""
    scale = of_history(history)
    rounded = np.round(scale.apply(history.values), DECIMALS)
    return replace(history, values=scale.invert(rounded))


def of_model(name: str, histories: list[Series]) -> list[FloatArray]:
    """Medians (H, V) of a model as it is, which reads histories as text in any case."""
    forecaster = Forecaster(load(resolve(name), choose()))
    found: list[FloatArray] = []
    for begin in range(0, len(histories), _AT_A_TIME):
        some = histories[begin : begin + _AT_A_TIME]
        found += [f.median for f in forecaster.predict(some, HORIZON, SAMPLING)]
    return found


def interval(differences: FloatArray) -> str:
    """Of the mean, by resampling the systems."""
    rng = np.random.default_rng(0)
    n = len(differences)
    low, high = np.quantile(differences[rng.integers(0, n, (10_000, n))].mean(axis=1), ENDS)
    return f"{low:+.3f} … {high:+.3f}"


def main() -> None:
    """Print MAE by noise and rival, as a table of Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--noise", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--series", type=int, default=48)
    parser.add_argument("--seed", type=int, default=8001)
    parser.add_argument("--as-text", action="store_true", help="round histories as the text does")
    parser.add_argument("--prey-alone", action="store_true", help="hide the predators")
    parser.add_argument("--model", help="forecast with it, too")
    args = parser.parse_args()
    rivals = {rival.name: rival for rival in default_rivals()}
    columns = slice(0, 1 if args.prey_alone else None)
    stop = CONTEXT + HORIZON

    def systems(noise: float) -> list[Series]:
        settings = SimulateSettings(n_series=args.series, seed=args.seed, noise=noise)
        return [
            replace(s, values=s.values[:stop, columns], time=s.time[:stop])
            for s in simulate(settings)
        ]

    clean = systems(0.0)
    for noise in args.noise:
        seen = [s.steps(0, CONTEXT) for s in systems(noise)]
        if args.as_text:
            seen = [as_text(history) for history in seen]
        both = list(zip(seen, clean, strict=True))
        forecasts = {
            name: [rivals[name].forecast(c.time, h.values) for h, c in both] for name in NAMES
        }
        if args.model:
            forecasts[args.model] = of_model(args.model, seen)
        errors = {
            name: np.array(
                [np.abs(f - c.values[CONTEXT:]).mean() for f, c in zip(of, clean, strict=True)]
            )
            for name, of in forecasts.items()
        }
        cells = [f"{of.mean():.3f}" for of in errors.values()]
        print(f"| {100 * noise:g} % | " + " | ".join(cells) + " |", flush=True)
        if args.model:
            more = [errors[name] - errors[args.model] for name in NAMES]
            print("| more than it, 95 % | " + " | ".join(map(interval, more)) + " | |", flush=True)


if __name__ == "__main__":
    main()
