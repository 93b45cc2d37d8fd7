"""Medians of a model by the number of samples and views and by the temperature.

    python scripts/compare_sampling.py --model bundled --threads 1 --noise 0 0.05

Simulated systems that no table has, 50 -> 50 and 80 -> 20 steps; errors against the clean truth.
"""

from __future__ import annotations

import argparse

import numpy as np

from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import simulate
from lvlora.evaluation.comparison import difference
from lvlora.forecast.language_model import open_model
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import set_threads

CHOICES = (
    Sampling(samples=20, views=4),
    Sampling(samples=20, views=8),
    Sampling(samples=20, views=20),
    Sampling(samples=40, views=8),
    Sampling(samples=20, views=4, temperature=0.7),
    Sampling(samples=20, views=8, temperature=0.5),
)
"""The first is what commands do; the others are told by their difference from it."""
PROTOCOLS = ((50, 50), (80, 20))
SEED = 777_001


def main() -> None:
    """Print a row of Markdown for each noise, protocol and choice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0])
    parser.add_argument("--series", type=int, default=32)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    set_threads(args.threads)
    forecaster = open_model(args.model, as_drawn=True)
    n = args.series
    clean = list(simulate(SimulateSettings(n_series=n, seed=SEED)))
    print("| noise | steps | samples, views, temperature | MAE | median series | minus the first |")
    print("|---|---|---|---|---|---|")
    for noise in args.noise:
        seen = list(simulate(SimulateSettings(n_series=n, seed=SEED, noise=noise)))
        for context, horizon in PROTOCOLS:
            usual = None
            for choice in CHOICES:
                histories = [s.steps(0, context) for s in seen]
                errors = np.array(
                    [
                        np.abs(forecast.median - s.values[context : context + horizon]).mean()
                        for forecast, s in zip(
                            forecaster.predict(histories, horizon, choice), clean, strict=True
                        )
                    ]
                )
                usual = errors if usual is None else usual
                minus = difference(errors, usual, resamples=10_000)
                print(
                    f"| {100 * noise:g} % | {context} -> {horizon} "
                    f"| {choice.samples}, {choice.views}, {choice.temperature:g} "
                    f"| {errors.mean():.4f} | {np.median(errors):.4f} "
                    f"| {minus.low:+.4f} … {minus.high:+.4f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
