"""Rivals on simulated systems whose histories are noisy and whose futures are not.

python scripts/score_noisy_histories.py --noise 0.02 0.05 0.1
"""

from __future__ import annotations

import argparse

import numpy as np

from lvlora.series.rivals import default_rivals
from lvlora.series.simulate import simulate
from lvlora.settings.data import SimulateSettings

CONTEXT, HORIZON = 50, 50
NAMES = (
    "sindy on rates",
    "sindy on levels",
    "nvar",
    "s-map",
    "var on logs",
    "context parroting",
)


def main() -> None:
    """Print MAE by noise and rival, as a table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.02, 0.05, 0.1])
    parser.add_argument("--series", type=int, default=48)
    parser.add_argument("--seed", type=int, default=8001)
    args = parser.parse_args()
    rivals = {rival.name: rival for rival in default_rivals()}
    clean = simulate(SimulateSettings(n_series=args.series, seed=args.seed))
    stop = CONTEXT + HORIZON
    for noise in args.noise:
        seen = simulate(SimulateSettings(n_series=args.series, seed=args.seed, noise=noise))
        cells = []
        for name in NAMES:
            errors = [
                np.abs(
                    rivals[name].forecast(c.time[:stop], s.values[:CONTEXT])
                    - c.values[CONTEXT:stop]
                ).mean()
                for s, c in zip(seen, clean, strict=True)
            ]
            cells.append(f"{np.mean(errors):.3f}")
        print(f"| {100 * noise:g} % | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
