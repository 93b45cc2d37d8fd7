"""How good a model's folder is on what no model was trained on: the development set.

    python scripts/pretrain/score_development.py lvlora/model/bundled --systems 8 --threads 1

- Measured series (`development.measured`): the last 10 steps held out; median over the series of
  the mean absolute scaled error (Hyndman & Koehler 2006), of the model and of the last value, the
  share of series where the model is better, and how much the 80 % interval covers. The log ratio is
  the mean of log((error + 0.1) / (the last value's + 0.1)).
- Families that are in no mixture (`development.UNSEEN`): the same, 60 -> 20 steps.
- Systems as `lvlora simulate` draws them, with other seeds: the mean absolute error against the
  clean truth, by the noise of the history, 50 -> 50 and 80 -> 20 steps, and the coverage.
- Hard ones: the same from histories of 20 steps, of prey alone, and with a fifth of the values
  missing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import development
import numpy as np

import lvlora
from lvlora.data.dataset import FloatArray, Series
from lvlora.data.metrics import inside_interval, naive_scale
from lvlora.data.settings import SimulateSettings
from lvlora.data.simulate import observe, simulate
from lvlora.forecast.rivals.naive import LastValue
from lvlora.model.devices import set_threads

HELD_OUT = 10
SEED = 410_019
PARTS = ("measured", "unseen", "systems", "hard")
_LAST = LastValue()
PROTOCOLS = {"50 -> 50": (50, 50), "80 -> 20": (80, 20)}


Forecasts = Callable[[Sequence[Series], int], list[FloatArray]]
"""Histories and a horizon to samples (S, H, V) of each history's future."""


def of(forecaster: str, folder: str, n_samples: int) -> Forecasts:
    """Those of a forecaster as ``lvlora forecast`` makes them: lm, auto or a rival by its name."""

    def forecasts(histories: Sequence[Series], horizon: int) -> list[FloatArray]:
        with tempfile.TemporaryDirectory() as runs, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = lvlora.predict(
                histories,
                horizon,
                forecaster=forecaster,
                model=folder,
                adapter="none",
                samples=n_samples,
                views=min(4, n_samples),
                runs=runs,
            )
        return [f.samples for f in predicted]

    return forecasts


def relative(
    histories: Sequence[Series], truths: Sequence[FloatArray], samples: Sequence[FloatArray]
) -> dict[str, float]:
    """Scaled errors of the median and of the last value, and the coverage of the 80 % interval."""
    model, last, inside = [], [], []
    for history, truth, drawn in zip(histories, truths, samples, strict=True):
        scale = naive_scale(history.values)
        model.append(np.nanmean(np.abs(np.median(drawn, axis=0) - truth) / scale))
        last.append(
            np.nanmean(
                np.abs(_LAST.forecast(np.arange(len(history) + 1.0), history.values) - truth)
                / scale
            )
        )
        inside.append(np.nanmean(inside_interval(truth[None], drawn[None], 0.8)))
    better = np.mean(np.array(model) < np.array(last))
    log_ratio = np.mean(np.log((np.array(model) + 0.1) / (np.array(last) + 0.1)))
    return {
        "series": len(model),
        "mase": float(np.median(model)),
        "log ratio": float(log_ratio),
        "last value": float(np.median(last)),
        "better": float(better),
        "coverage": float(np.mean(inside)),
    }


def score_measured(forecasts: Forecasts) -> dict[str, dict[str, float]]:
    """The last steps of measured series; those of several variables count as one."""
    every = development.measured()
    seasonal = [s for s in every if s.id in development.SEASONAL]
    others = [s for s in every if s.id not in development.SEASONAL]
    results = {}
    for label, series in (("measured, no season", others), ("measured, seasonal", seasonal)):
        histories = [s.steps(0, len(s) - HELD_OUT) for s in series]
        drawn: list[FloatArray] = [np.empty(0)] * len(series)
        for width in {s.values.shape[1] for s in series}:
            which = [i for i, s in enumerate(series) if s.values.shape[1] == width]
            of_width = forecasts([histories[i] for i in which], HELD_OUT)
            for i, samples in zip(which, of_width, strict=True):
                drawn[i] = samples
        results[label] = relative(histories, [s.values[-HELD_OUT:] for s in series], drawn)
        say(label, results[label])
    return results


def score_unseen(forecasts: Forecasts, n: int) -> dict[str, dict[str, float]]:
    """Each family that is in no mixture."""
    results = {}
    for place, (name, (make, noise)) in enumerate(development.UNSEEN.items()):
        rng = np.random.default_rng((SEED, place))
        values = observe(make(rng, n, 80), rng, noise=noise)
        series = [Series(f"{name} {i}", np.arange(80.0), v) for i, v in enumerate(values)]
        histories = [s.steps(0, 60) for s in series]
        drawn = forecasts(histories, 20)
        results[name] = relative(histories, [s.values[60:] for s in series], drawn)
        say(name, results[name])
    return results


def score_systems(
    forecasts: Forecasts, n: int, noises: Sequence[float]
) -> dict[str, dict[str, float]]:
    """Predators and prey: noisy histories, clean truths."""
    results = {}
    for noise in noises:
        for protocol, cut in PROTOCOLS.items():
            label = f"{100 * noise:g} % noise, {protocol}"
            results[label] = _score(forecasts, n, cut, noise=noise)
            say(label, results[label])
    return results


def score_hard(forecasts: Forecasts, n: int) -> dict[str, dict[str, float]]:
    """The same where less is known: short histories, one of two variables, gaps."""
    results = {
        "20 -> 20, 5 % noise": _score(forecasts, n, (20, 20), noise=0.05),
        "prey alone, clean": _score(forecasts, n, (50, 50), n_variables=1),
        "prey alone, 5 % noise": _score(forecasts, n, (50, 50), noise=0.05, n_variables=1),
        "20 % gaps, clean": _score(forecasts, n, (50, 50), gaps=0.2),
        "20 % gaps, 5 % noise": _score(forecasts, n, (50, 50), noise=0.05, gaps=0.2),
    }
    for label, scores in results.items():
        say(label, scores)
    return results


def _score(
    forecasts: Forecasts,
    n: int,
    cut: tuple[int, int],
    *,
    noise: float = 0.0,
    gaps: float = 0.0,
    n_variables: int = 2,
) -> dict[str, float]:
    """n systems, of each the first variables alone."""
    clean = simulate(SimulateSettings(n_series=n, seed=SEED))
    seen = simulate(SimulateSettings(n_series=n, seed=SEED, noise=noise, gaps=gaps))
    context, horizon = cut
    histories = [
        Series(s.id, s.time[:context], s.values[:context, :n_variables]) for s in seen.series
    ]
    truth = np.stack([s.values[context : context + horizon, :n_variables] for s in clean])
    drawn = np.stack(forecasts(histories, horizon))
    errors = np.abs(np.median(drawn, axis=1) - truth).mean(axis=(1, 2))
    last = np.stack([_LAST.forecast(np.arange(len(h) + 1.0), h.values) for h in histories])
    return {
        "series": n,
        "mae": float(errors.mean()),
        "median series": float(np.median(errors)),
        "last value": float(np.abs(last - truth).mean()),
        "coverage": float(inside_interval(truth, drawn, 0.8).mean()),
    }


def say(label: str, scores: dict[str, float]) -> None:
    """One line."""
    print(f"{label:28}", *(f"{k} {v:.3g}" for k, v in scores.items()), sep="  ", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="bundled", help="a folder, or bundled")
    parser.add_argument("--forecaster", default="lm", help="lm, auto, or a rival by its name")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--systems", type=int, default=24, help="of each noise")
    parser.add_argument("--family", type=int, default=12, help="series of each unseen family")
    parser.add_argument("--noise", type=float, nargs="*", default=[0.0, 0.02, 0.05, 0.1])
    parser.add_argument("--parts", nargs="+", default=list(PARTS))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    set_threads(args.threads)
    forecasts = of(args.forecaster, args.model, args.samples)
    results: dict[str, object] = {"forecaster": args.forecaster, "model": args.model}
    results["samples"] = args.samples
    if "measured" in args.parts:
        results["measured"] = score_measured(forecasts)
    if "unseen" in args.parts:
        results["unseen"] = score_unseen(forecasts, args.family)
    if "systems" in args.parts:
        results["systems"] = score_systems(forecasts, args.systems, args.noise)
    if "hard" in args.parts:
        results["hard"] = score_hard(forecasts, args.systems)
    if args.out:
        args.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
