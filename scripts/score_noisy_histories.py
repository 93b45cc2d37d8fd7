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

from lvlora.evaluation.comparison import difference
from lvlora.forecast.open_model import open_model
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import FloatArray, Series
from lvlora.series.rivals import default_rivals
from lvlora.series.rivals.rounding_floor import RoundingFloor
from lvlora.series.simulate import simulate
from lvlora.settings.data import SimulateSettings
from lvlora.text.scaling import of_history

CONTEXT, HORIZON = 50, 50
DECIMALS = 2
SAMPLING = Sampling(samples=20, views=4)
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
    divisors, offsets = np.array(of_history(history).pairs).T
    text = RoundingFloor(DECIMALS, divisors, offsets)
    return replace(history, values=text.of(history.values))


def more(theirs: FloatArray, ours: FloatArray) -> str:
    """The interval of how much more their errors are."""
    found = difference(theirs, ours, resamples=10_000)
    return f"{found.low:+.3f} … {found.high:+.3f}"


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
    # as it draws, and it reads histories as text in any case
    model = open_model(args.model, as_drawn=True) if args.model else None
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
        if model is not None:
            forecasts[model.name] = [f.median for f in model.predict(seen, HORIZON, SAMPLING)]
        errors = {
            name: np.array(
                [np.abs(f - c.values[CONTEXT:]).mean() for f, c in zip(of, clean, strict=True)]
            )
            for name, of in forecasts.items()
        }
        cells = [f"{of.mean():.3f}" for of in errors.values()]
        print(f"| {100 * noise:g} % | " + " | ".join(cells) + " |", flush=True)
        if model is not None:
            intervals = [more(errors[name], errors[model.name]) for name in NAMES]
            print("| more than it, 95 % | " + " | ".join(intervals) + " | |", flush=True)


if __name__ == "__main__":
    main()
