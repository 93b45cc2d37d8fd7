"""The bundled model beside simple rivals on every family it was pretrained on, with unseen systems.

    python scripts/score_families.py                 # 12 series of each, 10 samples, 48 -> 24 steps

Errors are mean absolute scaled errors (MASE, Hyndman & Koehler 2006): 1 is the error that the last
value makes one step ahead in the history. A family is beaten where the model's is the smaller one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "pretrain"))
import families

from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.model.catalogue import resolve
from lvlora.model.devices import choose, set_threads
from lvlora.model.loading import load
from lvlora.series.dataset import Series
from lvlora.series.metrics.scores import score
from lvlora.series.rivals.naive import LastValue, SeasonalNaive

SEED = 90_210
"""No pool of pretraining has it."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--series", type=int, default=12, help="of each family")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--context", type=int, default=48)
    parser.add_argument("--horizon", type=int, default=24)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    set_threads(args.threads)
    forecaster = LanguageModel(load(resolve(args.model), choose()))
    rivals = {"seasonal naive": SeasonalNaive(), "last value": LastValue()}
    n_steps, cut = args.context + args.horizon, args.context
    found: dict[str, dict[str, float]] = {}
    print(f"{'family':22} {'model':>7} {'seasonal':>9} {'last':>7}")
    for name, (_, simulate, _) in families.MIXTURES["default"].items():
        rng = np.random.default_rng((SEED, len(found)))
        values = simulate(rng, args.series, n_steps)
        times = np.arange(n_steps, dtype=float)
        series = [Series(f"{name} {i}", times, v) for i, v in enumerate(values)]
        histories = [s.steps(0, cut) for s in series]
        truth = values[:, cut:]
        forecasts = forecaster.predict(
            histories, args.horizon, Sampling(samples=args.samples, views=4)
        )
        points = {"model": np.stack([f.median for f in forecasts])}
        for label, rival in rivals.items():
            points[label] = np.stack([rival.forecast(times, h.values) for h in histories])
        given = [h.values for h in histories]
        found[name] = {
            label: float(score(truth, point, history=given).to_dict()["mase"])
            for label, point in points.items()
        }
        row = found[name]
        print(
            f"{name:22} {row['model']:7.2f} {row['seasonal naive']:9.2f} {row['last value']:7.2f}",
            flush=True,
        )
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
