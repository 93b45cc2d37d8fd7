"""A panel larger than one machine: a folder of Parquet files, forecast part by part.

Each part is forecast as a file of its own, here or by the workers of a cluster, and written under
the same name into a folder of results. A part is made again only if its data or a setting that
decides the result has changed, so a command that was stopped goes on where it was. One entry of the
ledger pays for all parts; a part that a dying worker lost is made again and charged once.

joblib is the layer between, so that whoever forecasts a part need not know who asked for it.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from lvlora import __version__, durable
from lvlora.answers import NOTHING, Price
from lvlora.data.known import read_data
from lvlora.errors import DataError, SettingsError
from lvlora.flops.ledger import Ledger, Limits, Wanted, check_limits
from lvlora.flops.rows import Spender
from lvlora.forecast import verb
from lvlora.forecast.answers import ForecastPrice, PanelForecasts
from lvlora.forecast.estimate import price_answer
from lvlora.forecast.settings import ForecastSettings
from lvlora.forecast.workers import cluster, shared, single
from lvlora.model.choice import Choice, choose
from lvlora.model.loading import weights_sha256
from lvlora.narrator import Narrator, Silent

DONE = "done.json"
"""The parts in a folder of results -> `Part.key`."""
_OF_ONE_FILE = ("plot", "samples_out", "series", "holdout", "density", "calibrated", "future")


class Part(NamedTuple):
    """A file of the panel.

    Attributes:
        name: its path in the folder.
        key: a hash of its data and of all that decides its forecasts.
    """

    name: str
    source: Path
    target: Path
    key: str


class Made(NamedTuple):
    """A part whose forecasts are written."""

    series: int
    spent: Price


def forecast_panel(settings: ForecastSettings, narrator: Narrator) -> PanelForecasts:
    """Forecast all parts of a folder that are not there yet.

    Raises:
        SettingsError: an option is of one file alone, or there is no folder for the results.
        BudgetError: a limit would be passed; nothing was spent.
        LvloraError: the cluster cannot be reached.
    """
    begin = time.perf_counter()
    settings, spender, parts = _prepared(settings, narrator)
    file = _target(settings) / DONE
    done = durable.read_json_object(file) if file.is_file() else {}
    missing = [p for p in parts if done.get(p.name) != p.key or not p.target.is_file()]
    bounds = [verb.price_bound(*_part_of(settings, p.source))[0] for p in missing]
    bound, n_series, spent = sum(bounds, NOTHING), 0, NOTHING
    run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-forecast-{uuid.uuid4().hex[:6]}"
    check_limits(settings, bound, max_flops=settings.max_flops, run=run)
    limits = Limits(settings.max_flops, settings.budget, settings.convention)
    for part in parts:
        part.target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        at_once = stack.enter_context(cluster(settings.scheduler if missing else None))
        # a killed command is charged what it recorded, and the parts that were being made
        largest = sorted(bounds, key=lambda one: one.executed)[-at_once:]
        wanted = {"forecast": Wanted(bound, sum(largest, NOTHING))}
        ledger = stack.enter_context(Ledger.for_runs(settings.runs))
        held = None
        if bound != NOTHING:
            held = ledger.reserve(run, wanted, spender, limits)["forecast"]
        advance = stack.enter_context(narrator.counted("Forecasting parts", len(missing)))
        results = stack.enter_context(contextlib.closing(_made(settings, missing)))
        try:
            for part, result in zip(missing, results, strict=True):
                n_series, spent = n_series + result.series, spent + result.spent
                done[part.name] = part.key
                durable.write_text(file, json.dumps(done, indent=1) + "\n")
                if held is not None:
                    ledger.record(held, spent, seconds=time.perf_counter() - begin)
                advance(1)
        finally:
            if held is not None:
                seconds = time.perf_counter() - begin
                ledger.record(held, spent, seconds=seconds, done=True)
    return PanelForecasts(
        folder=str(_target(settings)),
        parts=len(parts),
        parts_kept=len(parts) - len(missing),
        series=n_series,
        flops=spent,
        seconds=time.perf_counter() - begin,
    )


def price_panel(settings: ForecastSettings, narrator: Narrator) -> ForecastPrice:
    """Return the price bound of all parts, those that are there included."""
    settings, spender, parts = _prepared(settings, narrator)
    of_parts = [verb.price_bound(*_part_of(settings, part.source)) for part in parts]
    bound, n_series = sum((b for b, _ in of_parts), NOTHING), sum(n for _, n in of_parts)
    prices = {spender.model: bound} if spender.model else {}
    return price_answer(prices, None, 0.0, n_series=n_series, draws=False)


def forecast_part(words: Mapping[str, Any], source: str, target: str) -> Made:
    """Forecast one part and write its table: what a worker does.

    Args:
        words: the settings as JSON; the caller reserves and charges what is spent.
    """
    with tempfile.TemporaryDirectory(prefix="lvlora-part-") as runs:
        settings = ForecastSettings(**{**words, "data": source, "runs": runs})
        forecasts = verb.forecast(settings, lambda: read_data(settings, Silent()), Silent())
    with durable.replacing(Path(target)) as temporary:
        forecasts.to_frame().to_parquet(temporary, index=False)
    return Made(len(forecasts), forecasts.record.flops)


def _prepared(
    settings: ForecastSettings, narrator: Narrator
) -> tuple[ForecastSettings, Spender, list[Part]]:
    """Settings that mean the same on every machine, who spends, and the parts in order."""
    for name in _OF_ONE_FILE:
        if getattr(settings, name):
            option = name.replace("_", "-")
            raise SettingsError(
                f"--{option} and a folder of files: that is of one file.", "Leave one of them out."
            )
    verb.check(settings)
    target = _target(settings)
    choice = None
    if settings.forecaster in ("lm", "auto"):
        choice = choose(settings, settings.runs, None, narrator.note)
        settings = settings.model_copy(update=_named(choice, settings))
    hashes = [] if choice is None else [weights_sha256(choice.source)]
    if choice is not None and choice.info is not None:
        hashes.append(durable.sha256_of(choice.info.folder / "adapter_model.safetensors"))
    decided = settings.deciding("result", "model", "placement", "data")
    del decided["data"]
    sources = sorted(settings.data.rglob("*.parquet"))
    if not sources:
        raise DataError(f"{settings.data}: no *.parquet file in the folder", "Name a file instead.")
    parts = []
    for source in sources:
        name = source.relative_to(settings.data).as_posix()
        key = durable.sha256_of_json([__version__, decided, hashes, durable.sha256_of(source)])
        parts.append(Part(name, source, target / name, key))
    spender = Spender(
        command="forecast",
        settings_hash=durable.sha256_of_json(decided),
        model="" if choice is None else choice.source.name,
        model_hash="" if choice is None else hashes[0],
    )
    return settings, spender, parts


def _named(choice: Choice, settings: ForecastSettings) -> dict[str, str]:
    """Model and adapter by names that do not depend on what other runs there are."""
    named = {"adapter": "none" if choice.info is None else str(choice.info.folder.absolute())}
    source = choice.source
    if choice.info is None or settings.model != "auto":
        places = {"bundled": "bundled", "hub": source.location}
        named["model"] = places.get(source.kind) or str(Path(source.location).absolute())
    return named


def _target(settings: ForecastSettings) -> Path:
    if settings.output is None or settings.output.suffix or settings.output.is_file():
        raise SettingsError(
            f"{settings.data} is a folder: its forecasts need a folder, too.",
            "Add --output FOLDER.",
        )
    if settings.output.resolve() == settings.data.resolve():
        raise SettingsError("--output is the folder of the data.", "Name another folder.")
    return settings.output


def _part_of(settings: ForecastSettings, source: Path) -> tuple[ForecastSettings, Any, Narrator]:
    own = settings.model_copy(update={"data": source, "output": None})
    return own, lambda: read_data(own, Silent()), Silent()


def _made(settings: ForecastSettings, parts: list[Part]) -> Generator[Made, None, None]:
    """Forecast parts, here or by whoever `workers.cluster` has reached, in order."""
    unset = {"output", "budget", "max_flops", "scheduler", "runs", "data"}
    words = settings.model_dump(mode="json", exclude=unset)
    pieces = [(words, str(p.source.absolute()), str(p.target.absolute())) for p in parts]
    if settings.scheduler is None:
        return shared(forecast_part, pieces)
    return shared(single, [(forecast_part, *piece) for piece in pieces])
