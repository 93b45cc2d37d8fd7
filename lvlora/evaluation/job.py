"""One evaluation before its work: do its settings go together, what is scored, and where to?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lvlora.answers import NOTHING, Price
from lvlora.data.analysis.clusters import cluster
from lvlora.data.analysis.dynamics import measure
from lvlora.data.dataset import Dataset
from lvlora.data.splits import STRATA, Split, split_of
from lvlora.durable import sha256_of
from lvlora.errors import SettingsError
from lvlora.evaluation.disturbance import Disturbance
from lvlora.evaluation.folder import EvaluationFolder, key_of
from lvlora.evaluation.protocol import Protocol, Task, task, with_steps_that_fit
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.ensemble import NAME
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.open_model import open_forecaster, warn_of_seen
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.rivals import RoundingFloor, default_rivals
from lvlora.forecast.sampling import Sampling
from lvlora.model.choice import Choice, choose
from lvlora.model.devices import set_threads
from lvlora.narrator import Narrator

_ABSURD = 10**30
"""FLOPs that no training has spent."""


@dataclass(frozen=True)
class Candidate:
    """A model to score; nothing is loaded yet.

    Attributes:
        decimals: None for the adapter's own.
    """

    choice: Choice
    decimals: int | None

    def name(self, forecaster: LanguageModel, taken: Iterable[str]) -> str:
        """Return the name for tables, longer where another model has the same."""
        if forecaster.name not in taken:
            return forecaster.name
        if self.choice.info is None:
            return f"{forecaster.name}, {forecaster.decimals} decimals"
        return f"{forecaster.base.name} + {self.choice.info.folder}"

    @property
    def training_price(self) -> Price | None:
        """Return the FLOPs of the run until it made the adapter; nothing without one.

        None where the adapter does not say.
        """
        if self.choice.info is None:
            return NOTHING
        stored = self.choice.info.facts.get("flops")
        counts = (
            [stored.get(name) for name in NOTHING.to_dict()] if isinstance(stored, dict) else []
        )
        known = [n for n in counts if type(n) is int and 0 <= n < _ABSURD]
        return Price(*known) if counts and len(known) == len(counts) else None

    def open(self, settings: EvaluateSettings) -> LanguageModel:
        """Load it, as ``lvlora forecast`` does: without its own scale it has each history's.

        The same histories then have the same forecasts in both commands.
        """
        return open_forecaster(
            self.choice,
            settings,
            self.decimals,
            max_memory=settings.max_memory,
            as_drawn=settings.as_drawn,
        )

    def identity(self, forecaster: LanguageModel, sampling: Sampling) -> dict[str, Any]:
        """All that decides its forecasts of given histories, as JSON."""
        info, base = self.choice.info, forecaster.base
        files = [] if info is None else sorted(info.folder.glob("adapter_*"))
        return {
            "base": base.sha256,
            "adapter": {f.name: sha256_of(f) for f in files if f.is_file()},
            "device": [base.placement.device.type, str(base.placement.dtype)],
            "decimals": forecaster.decimals,
            **({} if forecaster.number_format == "point" else {"number_format": "digits"}),
            "gaps": "filled",  # as version 0.1.0 did not
            "scale": None if forecaster.scale is None else forecaster.scale.to_dict(),
            **({} if forecaster.widths is None else {"widths": forecaster.widths.sha256}),
            "sampling": asdict(sampling),
        }


def candidates(settings: EvaluateSettings, data: Dataset, narrator: Narrator) -> list[Candidate]:
    """The adapters in their order, then the base model of each without one.

    Args:
        data: the whole data set; an adapter that nobody named was trained on it.

    Raises:
        ModelError: what was named is not there.
    """
    named = settings.adapter or (None,)
    notes: set[str] = set()

    def note(message: str) -> None:
        if message not in notes:
            notes.add(message)
            narrator.note(message)

    chosen = [choose(settings.with_adapter(name), settings.runs, data, note) for name in named]
    candidates = [Candidate(choice, settings.decimals) for choice in chosen]
    if settings.zero_shot:
        for choice in chosen:
            if choice.info is not None:
                candidates.append(
                    Candidate(Choice(choice.source, None), _decimals(settings, choice))
                )
    return list(_different(candidates))


def _decimals(settings: EvaluateSettings, choice: Choice) -> int | None:
    """Those of the adapter, so that both are compared on the same text."""
    facts = {} if choice.info is None else choice.info.facts
    if settings.decimals is None and isinstance(facts.get("decimals"), int):
        return int(facts["decimals"])
    return settings.decimals


def _different(candidates: Iterable[Candidate]) -> Iterable[Candidate]:
    seen = set()
    for candidate in candidates:
        info, source = candidate.choice.info, candidate.choice.source
        decimals = DEFAULT_DECIMALS if candidate.decimals is None else candidate.decimals
        key = (
            (source.kind, source.location, source.revision),
            decimals if info is None else info.folder.resolve(),
        )
        if key not in seen:
            seen.add(key)
            yield candidate


_FEW = 20
"""Series; with fewer the figures are rough."""


@dataclass(frozen=True)
class Job:
    """Data, task and settings of an evaluation.

    Attributes:
        settings: with the part and the steps that the data allow.
        data: all of it; train: the part that learners learn from.
        clusters: id of a series -> name of its cluster of dynamics.
        sampling: of the models; rivals give as many futures.
    """

    settings: EvaluateSettings
    data: Dataset
    data_sha256: str
    split: Split
    train: Dataset
    task: Task
    clusters: dict[str, str]
    folder: EvaluationFolder
    sampling: Sampling

    @property
    def task_name(self) -> str:
        """The task's name for other programs: steps seen and wanted, and a hash of all else."""
        protocol = self.task.protocol
        context = "all" if protocol.context is None else self.task.context
        return f"from{context}-to{protocol.horizon}-{self.folder.key[:16]}"

    @property
    def rival_samples(self) -> int:
        """As many futures as a model's; a greedy forecast has no rival with a distribution."""
        return 0 if self.sampling.greedy else self.sampling.samples


def begin(
    settings: EvaluateSettings,
    read: Callable[[], Dataset],
    narrator: Narrator,
    *,
    has_folder: bool = True,
) -> tuple[Job, list[Candidate]]:
    """All that is before the first forecast: the job, and the models that will be scored.

    Args:
        read: gives all of the data, once the settings were found to go together.
        has_folder: see `prepare`.
    """
    data = read()
    chosen = candidates(settings, data, narrator) if settings.with_model else []
    job = prepare(settings, data, narrator, has_folder=has_folder)
    warn_of_seen(
        [c.choice.info for c in chosen], job.data_sha256, job.split, job.task.of_series, narrator
    )
    set_threads(settings.threads)
    return job, chosen


def prepare(
    settings: EvaluateSettings,
    data: Dataset,
    narrator: Narrator,
    *,
    has_folder: bool = True,
) -> Job:
    """Cut the data as the settings ask; what a reader of the table should know is said.

    Args:
        has_folder: without --out, an evaluation has a folder of its own among the runs.

    Raises:
        DataError: no series is long enough.
        SettingsError: the folder holds something else; a name of --forecasts is another row's.
    """
    names = {*(rival.name for rival in default_rivals()), NAME, RoundingFloor.name}
    for name in names.intersection(settings.forecast_files):
        raise SettingsError(f"--forecasts: another forecaster is called {name}", "Rename it.")
    split = split_of(data, settings)
    settings = with_steps_that_fit(settings, data, split, narrator)
    part = data.select(split.part(settings.split)[: settings.limit])
    protocol = _protocol(settings)
    scored = task(part, protocol, Disturbance.of_settings(settings), settings.season)
    _say_what_is_scored(scored, split, settings.rivals, narrator)
    clustering = cluster(data, measure(data), min(STRATA, len(data)), settings.split_seed)
    clusters = {
        s.id: clustering.clusters[label].name
        for s, label in zip(data, clustering.labels, strict=True)
    }
    data_sha256 = data.sha256()
    key = key_of(scored, data_sha256, split.sha256)
    folder = settings.out
    if folder is None and has_folder and settings.command == "evaluate":
        folder = settings.runs / f"evaluation-{settings.protocol_name}-{settings.split}-{key[:8]}"
    return Job(
        settings,
        data,
        data_sha256,
        split,
        data.select(split.train),
        scored,
        clusters,
        EvaluationFolder(folder, key, fresh=settings.fresh),
        Sampling.of(settings),
    )


def _protocol(settings: EvaluateSettings) -> Protocol:
    context, horizon = settings.steps
    if not settings.from_the_end:
        return Protocol(settings.split, context, horizon)
    windows = settings.windows or 1
    stride = settings.stride or horizon
    return Protocol(settings.split, settings.context, horizon, windows, stride)


def _say_what_is_scored(task: Task, split: Split, rivals: bool, narrator: Narrator) -> None:
    if task.disturbance:
        narrator.note(
            f"Forecasters see: {task.disturbance}; what is scored is as the data have it."
        )
    if task.left_out:
        narrator.note(f"{_series_are(task.left_out)} too short for this protocol and left out.")
    if task.n_series < _FEW:
        narrator.note(f"Only {_series_are(task.n_series)} scored: the figures are rough.")
    if task.protocol.part == "test":
        narrator.note("This is the test part: choose nothing by what you see.")
    n_learnt = len(set(split.train).intersection(task.of_series))
    if n_learnt and rivals:
        narrator.note(
            f"{_series_are(n_learnt)} scored that rivals learn from: of those they see the "
            "histories alone."
        )


def _series_are(n: int) -> str:
    return f"{n} series {'is' if n == 1 else 'are'}"
