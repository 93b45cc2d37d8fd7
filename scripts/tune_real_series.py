"""Does tuning pay on a few real series? Trained on the beginning of each, asked for its end.

The last quarter of a series is in no training and no validation; it is forecast window by window
from all that came before, with the adapter and without.

python scripts/tune_real_series.py --max-steps 200 --mix 0 0.5
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

import lvlora
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.files import read_dataset
from lvlora.data.splits import Cut, last_windows
from lvlora.forecast.rivals.naive import LastValue, SeasonalNaive
from lvlora.settings.shared import InputSettings
from lvlora.train.validation import gain_in

EXAMPLES = Path(__file__).parents[1] / "examples"
MOST_STEPS = 24
"""Of a window."""
WINDOWS = 4
"""At least, of each series."""


def one_course(years: Dataset) -> Dataset:
    """Series of a year each, one after the other."""
    values = np.concatenate([s.values for s in years])
    return replace(years, series=(Series("0", np.arange(len(values), dtype=float), values),))


def read(name: str) -> Dataset:
    """A file of the examples."""
    return read_dataset(EXAMPLES / name, InputSettings())


def data_sets() -> dict[str, Dataset]:
    """The real series of the examples."""
    return {
        "hares and lynxes": read("hare_lynx.csv"),
        "the Nile": read("nile.csv"),
        "sunspots": read("sunspots.csv"),
        "sea surface": one_course(read("sea_surface.csv")),
    }


def windows_of(series: Series) -> list[Cut]:
    """The last quarter, one window after the other."""
    n_steps = len(series) // 4
    horizon = max(1, min(MOST_STEPS, n_steps // WINDOWS))
    return last_windows(series, horizon, n_steps // horizon)


def errors_of(forecaster: lvlora.Forecaster, cuts: list[Cut], samples: int) -> FloatArray:
    """Mean absolute error of each window."""
    sampling = lvlora.Sampling(samples=samples, views=4)
    horizon = len(cuts[0].future)
    forecasts = forecaster.predict([c.history for c in cuts], horizon, sampling)
    pairs = zip(forecasts, cuts, strict=True)
    return np.array([np.nanmean(np.abs(f.median - c.future.values)) for f, c in pairs])


def of_rival(rival: LastValue | SeasonalNaive, cuts: list[Cut]) -> float:
    """Its mean error."""
    errors = [
        rival.forecast(np.concatenate([c.history.time, c.future.time]), c.history.values)
        - c.future.values
        for c in cuts
    ]
    return float(np.nanmean(np.abs(errors)))


def sentence(gain: object) -> str:
    """A gain with its interval."""
    if gain is None:
        return "–"
    return f"{gain.mean:+.3g} ({gain.low:+.3g} … {gain.high:+.3g})"


def main() -> None:
    """Print a row for each series and share of simulated ones, as a table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-steps", type=int, default=200)
    parser.add_argument("--mix", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", nargs="+", help="names of data sets")
    args = parser.parse_args()
    print(
        "| series | steps | windows | last value | seasonal naive | zero-shot | `--mix` | tuned "
        "| smaller by, 95 % | in validation, by which it was chosen |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, data in data_sets().items():
        if args.only and name not in args.only:
            continue
        cuts = [c for s in data for c in windows_of(s)]
        before = errors_of(lvlora.open_model(args.model), cuts, args.samples)
        shortened = replace(data, series=tuple(s.steps(0, len(s) - len(s) // 4) for s in data))
        rivals = [of_rival(rival, cuts) for rival in (LastValue(), SeasonalNaive())]
        for mix in args.mix:
            with tempfile.TemporaryDirectory() as runs:
                run = lvlora.fine_tune(
                    shortened,
                    model=args.model,
                    runs=Path(runs),
                    max_steps=args.max_steps,
                    mix=mix,
                    seed=args.seed,
                    threads=args.threads,
                )
                after = errors_of(lvlora.open_model(adapter=run.adapter), cuts, args.samples)
            cells = [
                f"{name}, {sum(map(len, data))} steps",
                f"{run.best_step} of {args.max_steps}",
                f"{len(cuts)} of {len(cuts[0].future)}",
                *(f"{error:.3g}" for error in (*rivals, before.mean())),
                f"{mix:g}",
                f"{after.mean():.3g}",
                sentence(gain_in(before, after, "windows")),
                sentence(run.gain),
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
