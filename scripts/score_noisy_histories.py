"""Rivals on simulated systems whose histories hide something and whose futures do not.

python scripts/score_noisy_histories.py --noise 0.02 0.05 0.1
python scripts/score_noisy_histories.py --noise 0 --as-text
python scripts/score_noisy_histories.py --noise 0 --as-text --prey-alone

``--as-text`` rounds histories as a language model's text does: it shows what two decimals cost
those who read more.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from lvlora.series.dataset import Series
from lvlora.series.rivals import default_rivals
from lvlora.series.simulate import simulate
from lvlora.settings.data import SimulateSettings
from lvlora.text.scaling import of_history

CONTEXT, HORIZON = 50, 50
DECIMALS = 2
NAMES = (
    "sindy on rates",
    "sindy on levels",
    "nvar",
    "gaussian process",
    "s-map",
    "var on logs",
    "context parroting",
)


def as_text(history: Series) -> Series:
    """The history with its numbers rounded as the text has them."""
    scale = of_history(history)
    rounded = np.round(scale.apply(history.values), DECIMALS)
    return replace(history, values=scale.invert(rounded))


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
    args = parser.parse_args()
    rivals = {rival.name: rival for rival in default_rivals()}
    seen_columns = slice(0, 1 if args.prey_alone else None)
    clean = list(simulate(SimulateSettings(n_series=args.series, seed=args.seed)))
    stop = CONTEXT + HORIZON
    for noise in args.noise:
        settings = SimulateSettings(n_series=args.series, seed=args.seed, noise=noise)
        histories = [
            replace(s, values=s.values[:, seen_columns]).steps(0, CONTEXT)
            for s in simulate(settings)
        ]
        if args.as_text:
            histories = [as_text(history) for history in histories]
        cells = []
        for name in NAMES:
            errors = [
                np.abs(
                    rivals[name].forecast(c.time[:stop], h.values)
                    - c.values[CONTEXT:stop, seen_columns]
                ).mean()
                for h, c in zip(histories, clean, strict=True)
            ]
            cells.append(f"{np.mean(errors):.3f}")
        print(f"| {100 * noise:g} % | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
