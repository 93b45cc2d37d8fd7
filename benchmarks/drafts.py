"""What drafts of numbers bring: the same forecasts with and without, in turns, in one process.

usage: python benchmarks/drafts.py MODEL [--data FILE] [--cases 1x0x50,8x0x20,1x20x50]

A case is series x samples (0: greedy) x steps ahead, from 50 steps of history, drafted whatever the
number of rows (the program drafts for a few only). Prints calls of the model, seconds of decoding
without reading (the less of two), executed FLOPs, and whether the forecasts are the same.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import lvlora
from lvlora.forecast import decoding
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.open_model import open_model
from lvlora.forecast.sampling import Sampling
from lvlora.series.dataset import Series

HISTORY = 50


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--data", help="a file of series; default: simulated ones")
    parser.add_argument("--cases", default="1x0x50,4x0x20,8x0x20,16x0x20,1x8x50,1x20x50")
    options = parser.parse_args()
    decoding.MOST_DRAFTED_ROWS = 10**9
    forecaster = open_model(options.model)
    dataset = lvlora.read(options.data) if options.data else lvlora.simulate(n_series=32)
    series = [s.steps(0, HISTORY) for s in dataset]
    print(f"{'case':>10} {'drafts':>6} {'calls':>6} {'seconds':>8} {'FLOPs':>9}")
    for case in options.cases.split(","):
        n, samples, horizon = map(int, case.split("x"))
        sampling = Sampling(samples=max(1, samples), greedy=samples == 0)
        given = series[:n]
        forecaster.predict(given, 2, sampling)
        found = {True: [], False: []}
        for drafts in (False, True, False, True):
            found[drafts].append(run(forecaster, given, horizon, sampling, drafts))
        for drafts, runs in sorted(found.items()):
            calls, seconds, flops, _ = min(runs, key=lambda r: r[1])
            print(
                f"{case:>10} {'yes' if drafts else 'no':>6} {calls:6} {seconds:8.2f} {flops:9.2e}"
            )
        same = np.array_equal(found[True][0][3], found[False][0][3])
        print(f"{case:>10} the forecasts are {'the same' if same else 'DIFFERENT'}", flush=True)


def run(
    forecaster: Forecaster, given: list[Series], horizon: int, sampling: Sampling, drafts: bool
) -> tuple[int, float, int, np.ndarray]:
    """Calls, seconds of decoding, executed FLOPs, and the samples."""
    forecaster.decoder.drafts = drafts
    trace = forecaster.usage.trace
    calls, reading = len(trace.calls), trace.prefill_seconds
    spent = forecaster.usage.price.executed
    begin = time.perf_counter()
    futures = forecaster.predict(given, horizon, sampling)
    seconds = time.perf_counter() - begin - (trace.prefill_seconds - reading)
    return (
        len(trace.calls) - calls,
        seconds,
        forecaster.usage.price.executed - spent,
        np.stack([f.samples for f in futures]),
    )


if __name__ == "__main__":
    main()
