"""A panel larger than one machine: a folder of Parquet files, worked on part by part.

A part is made again only if its data or a setting that decides its result has changed. One entry of
the ledger pays for all parts.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
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
from lvlora.forecast.answers import ForecastPrice, PanelForecasts, PartsFacts
from lvlora.forecast.estimate import price_answer
from lvlora.forecast.settings import ForecastSettings
from lvlora.forecast.workers import cluster, shared, single
from lvlora.model.choice import Choice, choose
from lvlora.model.loading import weights_sha256
from lvlora.narrator import Narrator, Silent

DONE = "done.json"
"""The parts in a folder of results -> `Part.key`."""
_OF_ONE_FILE = ("plot", "samples_out", "series", "holdout", "calibrated")
_OF_THE_PANEL = {"output", "out", "fresh", "budget", "max_flops", "scheduler", "runs", "data"}
"""Settings that no part has from the panel."""


class Part(NamedTuple):
    """A file of the panel.

    Attributes:
        name: its path in the folder.
        result: the file that is written last.
        key: a hash of its data and of all that decides its result.
    """

    name: str
    source: Path
    result: Path
    key: str


class Made(NamedTuple):
    """A part whose result is written."""

    series: int
    spent: Price


class Panel:
    """A folder of Parquet files, and the work that is done with each.

    Args:
        settings: of all parts; model and adapters have names that mean the same everywhere.
        choices: models and adapters that do the work.
        target: folder of the results.
        result: the path of a result below a part's, or empty for the part's path itself.
        make: work on one part: a function of a module, of settings as JSON, source and result.
        price_bound: of a file -> the most that the work can spend, and its number of series.

    Attributes:
        parts: in order.

    Raises:
        DataError: there is no part.
    """

    def __init__(
        self,
        settings: Any,
        choices: Sequence[Choice],
        *,
        command: str,
        target: Path,
        result: str,
        make: Callable[[dict[str, Any], str, str], Made],
        price_bound: Callable[[Path], tuple[Price, int]],
    ) -> None:
        self.settings, self.command, self.target = settings, command, target
        self.make, self.price_bound = make, price_bound
        hashes = [weights_sha256(choice.source) for choice in choices]
        for info in (choice.info for choice in choices):
            if info is not None:
                hashes.append(durable.sha256_of(info.folder / "adapter_model.safetensors"))
        decided = settings.deciding("result", "model", "placement", "data")
        del decided["data"]
        self.parts = []
        for source in sorted(settings.data.rglob("*.parquet")):
            name = source.relative_to(settings.data).as_posix()
            place = (target / name).with_suffix("") / result if result else target / name
            key = durable.sha256_of_json([__version__, decided, hashes, durable.sha256_of(source)])
            self.parts.append(Part(name, source, place, key))
        if not self.parts:
            raise DataError(
                f"{settings.data}: no *.parquet file in the folder", "Name a file instead."
            )
        self.spender = Spender(
            command=command,
            settings_hash=durable.sha256_of_json(decided),
            model=choices[0].source.name if choices else "",
            model_hash=hashes[0] if choices else "",
        )

    def run(self, narrator: Narrator, title: str, *, fresh: bool = False) -> PartsFacts:
        """Make all parts that are not there yet.

        Args:
            fresh: make those that are there, too.

        Raises:
            BudgetError: a limit would be passed; nothing was spent.
            LvloraError: the cluster cannot be reached.
        """
        begin, settings = time.perf_counter(), self.settings
        file = self.target / DONE
        done = durable.read_json_object(file) if file.is_file() and not fresh else {}
        missing = [p for p in self.parts if done.get(p.name) != p.key or not p.result.is_file()]
        # only a model spends
        priced = missing if self.spender.model else []
        bounds = [self.price_bound(part.source)[0] for part in priced]
        bound, n_series, spent = sum(bounds, NOTHING), 0, NOTHING
        run = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self.command}-{uuid.uuid4().hex[:6]}"
        check_limits(settings, bound, max_flops=settings.max_flops, run=run)
        limits = Limits(settings.max_flops, settings.budget, settings.convention)
        for part in self.parts:
            part.result.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            at_once = stack.enter_context(cluster(settings.scheduler if missing else None))
            # a killed command is charged what it recorded, and the parts that were being made
            largest = sorted(bounds, key=lambda one: one.executed)[-at_once:]
            wanted = {self.command: Wanted(bound, sum(largest, NOTHING))}
            ledger = stack.enter_context(Ledger.for_runs(settings.runs))
            held = None
            if bound != NOTHING:
                held = ledger.reserve(run, wanted, self.spender, limits)[self.command]
            advance = stack.enter_context(narrator.counted(title, len(missing)))
            results = stack.enter_context(contextlib.closing(self._results(missing)))
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
        return PartsFacts(
            folder=str(self.target),
            parts=len(self.parts),
            parts_kept=len(self.parts) - len(missing),
            series=n_series,
            flops=spent,
            seconds=time.perf_counter() - begin,
        )

    def price(self) -> ForecastPrice:
        """Return the price bound of all parts, those that are there included."""
        of_parts = [self.price_bound(part.source) for part in self.parts]
        bound, n_series = sum((b for b, _ in of_parts), NOTHING), sum(n for _, n in of_parts)
        prices = {self.spender.model: bound} if self.spender.model else {}
        return price_answer(prices, None, 0.0, n_series=n_series, draws=False)

    def _results(self, parts: Sequence[Part]) -> Any:
        """Work on parts, here or by whoever `workers.cluster` has reached, in order."""
        # what nobody set stays unset: the data may decide some defaults
        words = self.settings.model_dump(mode="json", exclude=_OF_THE_PANEL, exclude_unset=True)
        pieces = [(words, str(p.source.absolute()), str(p.result.absolute())) for p in parts]
        if self.settings.scheduler is None:
            return shared(self.make, pieces)
        return shared(single, [(self.make, *piece) for piece in pieces])


def is_panel(settings: Any) -> bool:
    """Whether the data are a folder.

    Raises:
        SettingsError: they are not, and a cluster is to work on their parts.
    """
    if settings.data is not None and settings.data.is_dir():
        return True
    if settings.scheduler is not None:
        raise SettingsError(
            "--scheduler: a cluster works on the parts of a folder.", "Give a folder of files."
        )
    return False


def check_panel(settings: Any, of_one_file: Sequence[str], option: str) -> Path:
    """Return the folder of the results, which an option names.

    Raises:
        SettingsError: it names none, or another option is of one file alone.
    """
    for name in of_one_file:
        if getattr(settings, name):
            other = name.replace("_", "-")
            raise SettingsError(
                f"--{other} and a folder of files: that is of one file.", "Leave one of them out."
            )
    target: Path | None = getattr(settings, option)
    if target is None or target.suffix or target.is_file():
        raise SettingsError(
            f"{settings.data} is a folder: its results need a folder, too.",
            f"Add --{option} FOLDER.",
        )
    if target.resolve() == settings.data.resolve():
        raise SettingsError(f"--{option} is the folder of the data.", "Name another folder.")
    return target


def portable(choice: Choice, model: str) -> dict[str, str]:
    """Model and adapter by names that do not depend on what other runs there are.

    Args:
        model: the setting, which stays where the adapter names its model.
    """
    named = {"adapter": "none" if choice.info is None else str(choice.info.folder.absolute())}
    source = choice.source
    if choice.info is None or model != "auto":
        places = {"bundled": "bundled", "hub": source.location}
        named["model"] = places.get(source.kind) or str(Path(source.location).absolute())
    return named


def forecasts_panel(settings: ForecastSettings, narrator: Narrator) -> Panel:
    """Return the panel whose parts are forecast, each into a Parquet table.

    Raises:
        SettingsError: an option is of one file alone, or there is no folder for the results.
    """
    target = check_panel(settings, _OF_ONE_FILE, "output")
    verb.check(settings)
    choices = []
    if settings.forecaster in ("lm", "auto"):
        choices = [choose(settings, settings.runs, None, narrator.note)]
        settings = settings.model_copy(update=portable(choices[0], settings.model))

    def price_bound(source: Path) -> tuple[Price, int]:
        of_part = settings.model_copy(update={"data": source, "output": None})
        plan = verb.ForecastPlan(
            of_part, lambda: read_data(of_part, Silent()), Silent(), weights=False
        )
        return plan.price_bound, len(plan.data)

    return Panel(
        settings,
        choices,
        command="forecast",
        target=target,
        result="",
        make=forecast_part,
        price_bound=price_bound,
    )


def forecast_panel(settings: ForecastSettings, narrator: Narrator) -> PanelForecasts:
    """Forecast all parts of a folder that are not there yet; see `Panel.run`."""
    facts = forecasts_panel(settings, narrator).run(narrator, "Forecasting parts")
    return PanelForecasts(**dict(facts))


def forecast_part(words: dict[str, Any], source: str, result: str) -> Made:
    """Forecast one part and write its table; the caller reserves and charges what is spent."""
    with tempfile.TemporaryDirectory(prefix="lvlora-part-") as runs:
        settings = ForecastSettings(**{**words, "data": source, "runs": runs})
        forecasts = verb.forecast(settings, lambda: read_data(settings, Silent()), Silent())
    with durable.replacing(Path(result)) as temporary:
        forecasts.to_frame().to_parquet(temporary, index=False)
    return Made(len(forecasts), forecasts.record.flops)
