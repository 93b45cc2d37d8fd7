"""The ensemble `auto` and its members on measured series, beside the last value.

    python scripts/score_ensemble.py FOLDER [--samples 20]

The series are those of `scripts/pretrain/development.py`, the last 10 steps held out. Each member's
hindcasts and forecasts are kept in FOLDER, so a stopped run goes on. A member's error on a series
is its mean absolute error over the history's mean step of one (MASE without a season); "log ratio"
is the mean of log((error + 0.1) / (the last value's + 0.1)).

The constants of `lvlora.forecast.ensemble` were chosen on these series. Two controls say what that
is worth:

- halves: the sources of the series (a package's data set, a disease) are halved 50 times; the
  constants that are best on one half are scored on the other;
- equal weights: nothing is chosen.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "pretrain"))
import development

import lvlora
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.metrics import inside_interval, naive_scale
from lvlora.evaluation.comparison import difference
from lvlora.forecast import ensemble
from lvlora.forecast.forecaster import Forecaster, in_order
from lvlora.forecast.rivals import default_rivals
from lvlora.forecast.rivals.contract import Prediction, Rival
from lvlora.forecast.rivals.futures import N_HINDCASTS, recent_origins
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import set_threads

HELD_OUT = 10
N_HALVES = 50
CONSTANTS = {
    "_POWER": (1.0, 2.0, 4.0),
    "_PRIOR_STEPS": (0.0, 3.0, 10.0, 30.0),
    "_NARROWER": (0.8, 0.85, 0.9, 1.0),
}
"""Constants of the ensemble, and the values that are tried for each."""


_MODELS: set[str] = set()
"""Names of the language models among the members."""


@dataclass(frozen=True)
class Member:
    """A member's part in one series: (W,) losses of its hindcasts, and its forecast."""

    losses: FloatArray
    forecast: Prediction


@dataclass(frozen=True)
class Row:
    """Errors and shares inside 80 % intervals of some series, in order."""

    errors: FloatArray
    inside: FloatArray


def collect(every: Sequence[Series], folder: Path, samples: int) -> list[dict[str, Member]]:
    """Return the members of each series; make those that the folder lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    model = lvlora.open_model("bundled", adapter="none")
    _MODELS.add(model.name)
    members: list[dict[str, Member]] = [{} for _ in every]
    for width in sorted({s.values.shape[1] for s in every}):
        places = [i for i, s in enumerate(every) if s.values.shape[1] == width]
        histories = {i: every[i].steps(0, len(every[i]) - HELD_OUT) for i in places}
        names = tuple(f"v{v}" for v in range(width))
        together = Dataset(tuple(histories.values()), names)
        rivals = [rival for rival in default_rivals() if rival.takes_part]
        for forecaster in [model, *rivals]:
            usable = _usable(forecaster, histories, together)
            if not usable:
                continue
            file = folder / f"{width}-{forecaster.name.replace(' ', '-')}.npz"
            if not file.exists():
                begin = time.perf_counter()
                _keep(file, forecaster, [histories[i] for i in usable], samples)
                print(f"{file.stem}: {time.perf_counter() - begin:.0f} s", flush=True)
            stored = np.load(file)
            arrays = zip(usable, stored["losses"], stored["points"], stored["samples"], strict=True)
            for i, losses, point, futures in arrays:
                members[i][forecaster.name] = Member(losses, Prediction(point, futures))
    return members


def _usable(
    forecaster: Forecaster, histories: Mapping[int, Series], together: Dataset
) -> list[int]:
    """Return the places of the histories that it can forecast, each by itself."""
    if not isinstance(forecaster, Rival):
        return list(histories)
    if forecaster.learns:
        return [] if forecaster.refusal(together) else list(histories)
    alone = {i: replace(together, series=(history,)) for i, history in histories.items()}
    return [i for i, history in alone.items() if not forecaster.refusal(history)]


def _keep(file: Path, forecaster: Forecaster, histories: Sequence[Series], samples: int) -> None:
    sampling = Sampling(samples=samples, views=4)
    losses = np.full((len(histories), N_HINDCASTS), np.nan)
    forecasters = [forecaster] * N_HINDCASTS
    for _, of_part in ensemble.Hindcasts(forecasters, histories, HELD_OUT, sampling).losses():
        for origin, loss in of_part.items():
            losses[origin.place, origin.which] = loss
    planned = forecaster.planned(histories, [HELD_OUT] * len(histories), sampling)
    forecasts = in_order(planned.parts())
    np.savez(
        file.with_suffix(".part"),
        losses=losses,
        points=np.stack([f.median for f in forecasts]),
        samples=np.stack([f.samples for f in forecasts]),
    )
    file.with_suffix(".part.npz").rename(file)


def scored(every: Sequence[Series], forecasts: Mapping[int, Prediction]) -> Row:
    """Return errors and coverage of the forecasts of these series."""
    errors, inside = [], []
    for i, forecast in forecasts.items():
        truth, history = every[i].values[-HELD_OUT:], every[i].values[:-HELD_OUT]
        errors.append(np.nanmean(np.abs(forecast.point - truth) / naive_scale(history)))
        samples = forecast.point[None] if forecast.samples is None else forecast.samples
        inside.append(np.nanmean(inside_interval(truth[None], samples[None], 0.8)))
    return Row(np.array(errors), np.array(inside))


def mixed(
    every: Sequence[Series], members: Sequence[Mapping[str, Member]], samples: int, equal: bool
) -> dict[int, Prediction]:
    """The ensemble's forecast of each series, by its constants of now."""
    forecasts = {}
    for i, of_one in enumerate(members):
        origins = recent_origins(len(every[i]) - HELD_OUT, HELD_OUT)
        n_steps = 0 if equal else sum(n_ahead for _, n_ahead in origins)
        losses = np.stack([member.losses for member in of_one.values()])
        shares = ensemble.weights(losses, n_steps)
        predictions = [member.forecast for member in of_one.values()]
        forecasts[i] = ensemble.pooled(predictions, shares, samples)
    return forecasts


def log_ratios(errors: FloatArray, last: FloatArray) -> FloatArray:
    """(n,) how much smaller errors are than the last value's."""
    ratios: FloatArray = np.log((errors + 0.1) / (last + 0.1))
    return ratios


def show(name: str, row: Row, last: FloatArray) -> None:
    """Print a row of the table."""
    ratio = difference(log_ratios(row.errors, last), np.zeros(len(last)))
    print(
        f"| {name} | {len(last)} | {np.median(row.errors):.2f} | {ratio.mean:+.3f} "
        f"({ratio.low:+.3f} … {ratio.high:+.3f}) | {np.mean(row.errors < last):.0%} | "
        f"{row.inside.mean():.0%} |",
        flush=True,
    )


def source(series: Series) -> str:
    """Where a series comes from: series of one source are alike."""
    return series.id.split(" in ")[0] if " in " in series.id else " ".join(series.id.split()[:2])


def halves(
    every: Sequence[Series], members: Sequence[Mapping[str, Member]], samples: int, last: FloatArray
) -> None:
    """Print what constants gain that are chosen on one half, on the other."""
    before = {name: getattr(ensemble, name) for name in CONSTANTS}
    rows = {}
    for values in itertools.product(*CONSTANTS.values()):
        for name, value in zip(CONSTANTS, values, strict=True):
            setattr(ensemble, name, value)
        rows[values] = scored(every, mixed(every, members, samples, equal=False))
    for name, value in before.items():
        setattr(ensemble, name, value)
    sources = sorted({source(s) for s in every})
    of_source = np.array([sources.index(source(s)) for s in every])
    rng, chosen, other, inside = np.random.default_rng(0), [], [], []
    for _ in range(N_HALVES):
        half = np.isin(of_source, rng.permutation(len(sources))[: len(sources) // 2])
        for here in (half, ~half):
            best = min(rows, key=lambda v: _half_loss(rows[v], last, here))
            chosen.append(log_ratios(rows[best].errors, last)[here].mean())
            other.append(log_ratios(rows[best].errors, last)[~here].mean())
            inside.append(rows[best].inside[~here].mean())
    print(
        f"\nConstants chosen on one half of {len(sources)} sources, {N_HALVES} times both ways: "
        f"log ratio {np.mean(chosen):+.3f} there, {np.mean(other):+.3f} on the other half, "
        f"whose 80 % intervals hold {np.mean(inside):.0%}."
    )


def _half_loss(row: Row, last: FloatArray, here: FloatArray) -> float:
    """The log ratio, and how far the coverage is from 80 %."""
    ratio = log_ratios(row.errors, last)[here].mean()
    return float(ratio + abs(row.inside[here].mean() - 0.8))


def main() -> None:
    """Collect, then print the table and its controls."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    set_threads(args.threads)
    every = development.measured()
    members = collect(every, args.folder, args.samples)
    names = list(dict.fromkeys(name for of_one in members for name in of_one))
    last = scored(every, {i: m["last value"].forecast for i, m in enumerate(members)}).errors
    print("| forecaster | series | median error | log ratio, 95 % | nearer | inside 80 % |")
    print("|---|---|---|---|---|---|")
    for name in names:
        own = {i: m[name].forecast for i, m in enumerate(members) if name in m}
        if len(own) < 2:  # no interval
            continue
        show(name, scored(every, own), last[list(own)])
    seasonal = np.array([s.id in development.SEASONAL for s in every])
    for label, equal in (("auto", False), ("auto, equal weights", True)):
        row = scored(every, mixed(every, members, args.samples, equal))
        show(label, row, last)
        for part, here in (("no season", ~seasonal), ("seasonal", seasonal)):
            show(f"{label}: {part}", Row(row.errors[here], row.inside[here]), last[here])
    without = [{n: m for n, m in of_one.items() if n not in _MODELS} for of_one in members]
    show("auto, no model", scored(every, mixed(every, without, args.samples, equal=False)), last)
    halves(every, members, args.samples, last)


if __name__ == "__main__":
    main()
