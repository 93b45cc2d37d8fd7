import itertools
import time

import pytest
import torch
from ledgers import reserve, settle

from lvlora.answers import Price
from lvlora.flops.ledger import Ledger, entries
from lvlora.forecast.estimate import FORECASTING, benchmark, ledger_rate
from lvlora.model.devices import choose

HERE = {"model": "m", "device": "cpu", "dtype": "float32"}


class Base:
    name = "m"
    placement = choose("cpu", "float32")


@pytest.mark.parametrize(
    ("phase", "command", "promised", "spent", "more", "rate"),
    [
        ("train", "train", 1000, 500, {}, 250),
        ("forecast", "evaluate", 1000, 500, {}, 500),  # bounds are compared with bounds
        ("forecast", "evaluate", 1000, 100, {}, 50),  # it was interrupted
        ("forecast", "evaluate", 1000, 500, {"dtype": "bfloat16"}, None),
        ("forecast", "evaluate", 1000, 500, {"model": "n"}, None),
        ("validation", "train", 1000, 500, {}, None),
    ],
)
def test_a_rate_is_that_of_the_last_such_work(
    tmp_path, phase, command, promised, spent, more, rate
):
    with Ledger.for_runs(tmp_path) as ledger:
        held = reserve(ledger, promised, phase=phase, command=command, **{**HERE, **more})
        settle(ledger, held, spent, 1, seconds=2.0)
        reserve(ledger, 10**9, phase=phase, command=command, **HERE)  # runs still
    commands = FORECASTING if phase == "forecast" else ("train",)
    assert ledger_rate(entries(tmp_path), commands, Base) == rate
    assert ledger_rate(entries(tmp_path), ("other",), Base) is None


def test_a_benchmark_takes_a_second_or_one_piece_of_work():
    def work():
        for _ in itertools.repeat(None, 1000):
            time.sleep(0.01)
            yield Price(100, 1)

    begin = time.perf_counter()
    measured = benchmark(work(), torch.device("cpu"))
    assert 0.9 < time.perf_counter() - begin < 5
    assert 1000 < measured.rate < 10_000
    assert measured.probe.executed == 100 * measured.probe.coursework > 1000
    known = benchmark(work(), torch.device("cpu"), rate=5.0)
    assert (known.rate, known.probe) == (5.0, Price(100, 1))
    assert known.seconds(Price(10, 0)) == 2.0
