"""Rivals on simulated systems whose histories hide something and whose futures do not.

python scripts/score_noisy_histories.py --noise 0.02 0.05 0.1
python scripts/score_noisy_histories.py --noise 0 --as-text
python scripts/score_noisy_histories.py --noise 0 --as-text --prey-alone --model bundled
python scripts/score_noisy_histories.py --rivals "refitted rates" --outside --samples 40

``--as-text`` rounds histories as a language model's text does: it shows what two decimals cost
those who read more.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lvlora.data.dataset import FloatArray, Series
from lvlora.data.metrics import crps_from_samples
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import System, simulate, simulate_series
from lvlora.evaluation.comparison import difference
from lvlora.forecast.language_model import open_model
from lvlora.forecast.rivals import default_rivals
from lvlora.forecast.rivals.naive import as_written
from lvlora.forecast.sampling import Sampling
from lvlora.text.scaling import of_history

CONTEXT, HORIZON = 50, 50
DECIMALS = 2
SAMPLING = Sampling(samples=20, views=4)
NAMES = (
    "refitted rates",
    "refitted quadratic rates",
    "sindy on rates",
    "sindy on levels",
    "nvar",
    "gaussian process",
    "s-map",
    "var on logs",
    "context parroting",
)


def _type_three(x: float, y: float, p: Mapping[str, float]) -> tuple[float, float]:
    eaten = p["beta"] * x / (1.0 + p["h"] * x * x)
    crowded = 1.0 - x / p["K"]
    return (
        p["alpha"] * crowded * (x - p["A"]) / (x + p["A"]) - eaten * y,
        p["conversion"] * eaten * x - p["gamma"],
    )


OUTSIDE = System(
    "type III",
    "x' = x (alpha (1 - x / K) (x - A) / (x + A) - beta x y / (1 + h x²)), "
    "y' = y (delta x² / (1 + h x²) - gamma)",
    _type_three,
    {
        "alpha": (0.10, 0.30),
        "beta": (0.20, 0.50),
        "conversion": (0.30, 0.70),
        "gamma": (0.10, 0.30),
        "K": (5.0, 15.0),
        "h": (0.20, 0.60),
        "A": (0.20, 0.40),
    },
)
"""A response that no library of ours has, and an Allee effect (Holling 1959; Allee 1931)."""


def as_text(history: Series) -> Series:
    """The history with its numbers rounded as the text has them."""
    divisors, offsets = np.array(of_history(history).pairs).T
    return replace(history, values=as_written(history.values, DECIMALS, divisors, offsets))


def more(theirs: FloatArray, ours: FloatArray) -> str:
    """The interval of how much more their errors are."""
    interval = difference(theirs, ours, resamples=10_000)
    return f"{interval.low:+.3f} … {interval.high:+.3f}"


def distribution(truth: FloatArray, samples: FloatArray, seconds: float) -> str:
    """What futures are worth, as cells of a table."""
    crps = float(np.mean(crps_from_samples(truth, samples)))
    low, high = np.quantile(samples, [0.1, 0.9], axis=1)
    inside, width = np.mean((truth >= low) & (truth <= high)), np.mean(high - low)
    return f"CRPS {crps:.4f} | in 80 % {100 * inside:.0f} % | width {width:.3f} | {seconds:.2f} s"


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
    parser.add_argument("--outside", action="store_true", help="a type III response, Allee effect")
    parser.add_argument("--rivals", nargs="+", default=NAMES, help="their names in the table")
    parser.add_argument("--samples", type=int, default=0, help="futures: CRPS and intervals, too")
    parser.add_argument("--model", help="forecast with it, too")
    args = parser.parse_args()
    rivals = {rival.name: rival for rival in default_rivals()}
    # as it draws, and it reads histories as text in any case
    model = open_model(args.model, as_drawn=True) if args.model else None
    columns = slice(0, 1 if args.prey_alone else None)
    stop = CONTEXT + HORIZON

    def systems(noise: float) -> list[Series]:
        settings = SimulateSettings(n_series=args.series, seed=args.seed, noise=noise)
        all_steps = np.linspace(0.0, settings.duration, settings.n_steps)
        predictions = (
            (
                simulate_series(OUTSIDE, all_steps, args.seed, i, noise=noise)
                for i in range(args.series)
            )
            if args.outside
            else simulate(settings)
        )
        return [
            replace(s, values=s.values[:stop, columns], time=s.time[:stop]) for s in predictions
        ]

    clean = systems(0.0)
    for noise in args.noise:
        seen = [s.steps(0, CONTEXT) for s in systems(noise)]
        if args.as_text:
            seen = [as_text(history) for history in seen]
        both = list(zip(seen, clean, strict=True))
        truth = np.stack([c.values[CONTEXT:] for c in clean])
        forecasts, distributions = {}, {}
        for name in args.rivals:
            begin = time.process_time()
            predictions = [
                rivals[name].prediction(c.time, h.values, args.samples, c.id) for h, c in both
            ]
            seconds = (time.process_time() - begin) / len(predictions)
            forecasts[name] = [prediction.point for prediction in predictions]
            if args.samples:
                samples = np.stack([p.samples for p in predictions if p.samples is not None])
                distributions[name] = distribution(truth, samples, seconds)
        if model is not None:
            forecasts[model.name] = [f.median for f in model.predict(seen, HORIZON, SAMPLING)]
        errors = {
            name: np.array(
                [np.abs(f - c.values[CONTEXT:]).mean() for f, c in zip(of, clean, strict=True)]
            )
            for name, of in forecasts.items()
        }
        cells = [f"{of.mean():.4f}" for of in errors.values()]
        print(f"| {100 * noise:g} % | " + " | ".join(cells) + " |", flush=True)
        for name, text in distributions.items():
            print(f"| {name} | {text} |", flush=True)
        if model is not None:
            intervals = [more(errors[name], errors[model.name]) for name in args.rivals]
            print("| more than it, 95 % | " + " | ".join(intervals) + " | |", flush=True)


if __name__ == "__main__":
    main()
