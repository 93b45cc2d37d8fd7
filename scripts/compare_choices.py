"""Rules by which a forecast is made of those of models and rivals, side by side.

Usage: python scripts/compare_choices.py DATA [--series 32] [--noise 0 0.05] [--no-model]

Each forecaster makes two hindcasts of the last steps of every history; a rule sees those two errors
(in spreads) and the forecasts, and nothing of the truth. `lvlora.forecast.ensemble` has the rule
that was kept.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

import lvlora
from lvlora.data.dataset import Dataset, FloatArray
from lvlora.data.splits import split_of
from lvlora.evaluation.comparison import difference
from lvlora.evaluation.disturbance import NO_DISTURBANCE
from lvlora.evaluation.protocol import Protocol, Task, task
from lvlora.evaluation.scores import Hindsight, Scoring, learnable, rivals_of
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.ensemble import N_HINDCASTS, weighted_median
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.rivals.forecaster import RivalForecaster
from lvlora.forecast.sampling import Sampling

Rule = Callable[[FloatArray, FloatArray], FloatArray]
"""(M, W) losses and (M, H, V) forecasts -> (H, V)."""


def best(errors: Callable[[FloatArray], FloatArray]) -> Rule:
    """The forecaster with the least error alone."""
    return lambda losses, points: points[int(np.argmin(errors(losses)))]


def middle(errors: Callable[[FloatArray], FloatArray], n: int) -> Rule:
    """The median of the n best."""

    def rule(losses: FloatArray, points: FloatArray) -> FloatArray:
        return np.median(points[np.argsort(errors(losses), kind="stable")[:n]], axis=0)

    return rule


def weighted(errors: Callable[[FloatArray], FloatArray], power: float, *, mean: bool) -> Rule:
    """The mean or median of all, weighted by 1/error^power."""

    def rule(losses: FloatArray, points: FloatArray) -> FloatArray:
        inverse = 1 / np.maximum(errors(losses), 1e-6) ** power
        shares = inverse / inverse.sum()
        if mean:
            return np.einsum("m,mhv->hv", shares, points)
        return weighted_median(points, shares)

    return rule


def both(losses: FloatArray) -> FloatArray:
    """(M,) the errors at both origins together."""
    return losses.sum(axis=1)


RULES: dict[str, Rule] = {
    "the last, the best": best(lambda losses: losses[:, 1]),
    "the first, the best": best(lambda losses: losses[:, 0]),
    "both, the best": best(both),
    "both, median of the best three": middle(both, 3),
    "both, median of the best five": middle(both, 5),
    "both, mean by 1/error^2": weighted(both, 2, mean=True),
    "both, mean by 1/error^4": weighted(both, 4, mean=True),
    "both, median by 1/error^2": weighted(both, 2, mean=False),
    "both, median by 1/error^4": weighted(both, 4, mean=False),
    "both, median by 1/error^8": weighted(both, 8, mean=False),
}


def compare(given: Task, train: Dataset, with_model: bool) -> None:
    """Print the errors of the best forecasters and of every rule."""
    whole, parts, sampling = given.learnable(train), learnable(given, train), Sampling(views=4)
    members: list[tuple[Forecaster, list[Forecaster]]] = []
    if with_model:
        model = lvlora.open_model("bundled", adapter="none")
        members.append((model, [model] * N_HINDCASTS))
    for rival in (r for r in rivals_of(given)[0] if r.takes_part):
        before = [RivalForecaster(rival, learns_from=part) for part in parts]
        members.append((RivalForecaster(rival, learns_from=whole), before))
    points, losses = {}, {}
    for forecaster, before in members:
        points[forecaster.name] = Scoring(forecaster, given, sampling).run((0.1, 0.5, 0.9)).point
        losses[forecaster.name] = Hindsight(before, given, sampling).run().losses
    errors = {name: _errors(given, point) for name, point in points.items()}
    all_losses, all_points = np.stack(list(losses.values())), np.stack(list(points.values()))
    order = sorted(errors, key=lambda name: float(errors[name].mean()))
    for name in order[:6]:
        print(f"  {errors[name].mean():.4f}  {np.median(errors[name]):.4f}  {name}")
    print("  by a rule; minus the best forecaster's, 95 %:")
    for name, rule in RULES.items():
        point = np.stack([rule(all_losses[:, i], all_points[:, i]) for i in range(len(given.ids))])
        found = _errors(given, point)
        gap = difference(found, errors[order[0]])
        print(
            f"  {found.mean():.4f}  {np.median(found):.4f}  {name}  "
            f"({gap.low:+.4f} to {gap.high:+.4f})"
        )


def _errors(given: Task, point: FloatArray) -> FloatArray:
    """(n,) MAE of each series."""
    return np.abs(point - given.truth).mean(axis=(1, 2))


def main() -> None:
    """Compare, protocol by protocol and noise by noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--series", type=int, default=32)
    parser.add_argument("--noise", type=float, nargs="+", default=[0.0, 0.05])
    parser.add_argument("--no-model", action="store_true")
    asked = parser.parse_args()
    data = lvlora.read(asked.data)
    split = split_of(data, EvaluateSettings())
    part = data.select(split.validation[: asked.series])
    for context, horizon in ((50, 50), (80, 20)):
        for noise in asked.noise:
            protocol = Protocol("validation", context, horizon)
            given = task(part, protocol, NO_DISTURBANCE.model_copy(update={"noise": noise}))
            print(f"{protocol}, {noise:g} noise, {len(given.ids)} series: MAE, median series")
            compare(given, data.select(split.train), not asked.no_model)


if __name__ == "__main__":
    main()
