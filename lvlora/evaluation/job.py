"""An evaluation before its work: its data, its models, its folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lvlora.answers import NOTHING, Price
from lvlora.data.analysis import strata
from lvlora.data.dataset import Dataset
from lvlora.data.splits import Split, split_of
from lvlora.durable import sha256_of, sha256_of_json
from lvlora.evaluation.folder import EvaluationFolder
from lvlora.evaluation.protocol import Protocol, Task, task, with_steps_that_fit
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.language_model import LanguageModel, open_forecaster, warn_of_seen
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.sampling import Sampling
from lvlora.model import devices
from lvlora.model.choice import Choice, choose
from lvlora.narrator import Narrator

_FEW = 20
"""Series; with fewer the figures are rough."""


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
    def key(self) -> tuple[object, ...]:
        """Identity of the model among others."""
        source, info = self.choice.source, self.choice.info
        decimals = DEFAULT_DECIMALS if self.decimals is None else self.decimals
        which = decimals if info is None else info.folder.resolve()
        return source.kind, source.location, source.revision, which

    @property
    def training_price(self) -> Price | None:
        """FLOPs of the run until it made the adapter; nothing without one, None if unknown."""
        if self.choice.info is None:
            return NOTHING
        try:
            return TypeAdapter(Price).validate_python(self.choice.info.facts.get("flops"))
        except ValidationError:
            return None

    def open(self, settings: EvaluateSettings) -> LanguageModel:
        """Load it as ``lvlora forecast`` does, so that the same histories have its forecasts."""
        settings = settings.model_copy(update={"decimals": self.decimals})
        placement = devices.choose(settings.device, settings.dtype)
        return open_forecaster(self.choice, placement, settings)

    def identity(self, forecaster: LanguageModel, sampling: Sampling) -> dict[str, Any]:
        """Return what decides its forecasts of a history, as JSON."""
        info, base = self.choice.info, forecaster.base
        files = [] if info is None else sorted(info.folder.glob("adapter_*"))
        return {
            "base": base.sha256,
            "adapter": {f.name: sha256_of(f) for f in files if f.is_file()},
            "device": [base.placement.device.type, str(base.placement.dtype)],
            "decimals": forecaster.decimals,
            "number_format": forecaster.number_format,
            "scale": None if forecaster.scale is None else forecaster.scale.to_dict(),
            "widths": None if forecaster.widths is None else forecaster.widths.sha256,
            "sampling": asdict(sampling),
        }


def candidates(settings: EvaluateSettings, data: Dataset, narrator: Narrator) -> list[Candidate]:
    """The adapters in their order, then the base model of each without one.

    Args:
        data: the whole data set; an adapter that nobody named was trained on it.

    Raises:
        ModelError: what was named is not there.
    """
    models: dict[tuple[object, ...], Candidate] = {}
    chosen = [
        choose(settings.with_adapter(name), settings.runs, data, narrator.note)
        for name in settings.adapter or (None,)
    ]
    for choice in chosen:
        candidate = Candidate(choice, settings.decimals)
        models.setdefault(candidate.key, candidate)
    for choice in chosen if settings.zero_shot else ():
        if choice.info is not None:
            # written as by the adapter, so that both are compared on the same text
            decimals, stored = settings.decimals, choice.info.facts.get("decimals")
            if decimals is None and isinstance(stored, int):
                decimals = stored
            candidate = Candidate(Choice(choice.source, None), decimals)
            models.setdefault(candidate.key, candidate)
    return list(models.values())


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
    """Return the job, and the models that will be scored; arguments as of `prepare`."""
    data = read()
    chosen = candidates(settings, data, narrator) if settings.with_model else []
    job = prepare(settings, data, narrator, has_folder=has_folder)
    warn_of_seen(
        [c.choice.info for c in chosen], job.data_sha256, job.split, job.task.of_series, narrator
    )
    devices.set_threads(settings.threads)
    return job, chosen


def prepare(
    settings: EvaluateSettings,
    data: Dataset,
    narrator: Narrator,
    *,
    has_folder: bool = True,
) -> Job:
    """Cut the data by the settings; note what a reader of the table should know.

    Args:
        data: all of it.
        has_folder: without --out, an evaluation has a folder of its own among the runs.

    Raises:
        DataError: no series is long enough.
    """
    split = split_of(data, settings)
    settings = with_steps_that_fit(settings, data, split, narrator)
    part = data.select(split.part(settings.split)[: settings.limit])
    context, horizon = settings.steps
    protocol = Protocol(settings.split, context, horizon)
    if settings.from_the_end:
        protocol = Protocol(settings.split, settings.context, horizon, settings.windows or 1)
    scored = task(part, protocol, settings.season)
    _note_what_is_scored(scored, split, settings.rivals, narrator)
    clustering = strata(data, settings.split_seed)
    clusters = {
        s.id: clustering.clusters[label].name
        for s, label in zip(data, clustering.labels, strict=True)
    }
    data_sha256 = data.sha256()
    decided: list[Any] = [data_sha256, split.sha256, scored.ids, protocol.context, horizon]
    if protocol.windows is not None:
        decided.append([protocol.windows, protocol.horizon])
    key = sha256_of_json(decided)
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
        EvaluationFolder(folder, key, settings.fresh),
        Sampling.of(settings),
    )


def _note_what_is_scored(task: Task, split: Split, rivals: bool, narrator: Narrator) -> None:
    n_learnt = len(set(split.train).intersection(task.of_series))
    notes = {
        f"{task.left_out} series too short for this protocol: left out.": task.left_out > 0,
        f"Only {task.n_series} series scored: the figures are rough.": task.n_series < _FEW,
        "This is the test part: choose nothing by what you see.": task.protocol.part == "test",
        f"Of {n_learnt} scored series, rivals learn from the histories alone.": (
            n_learnt > 0 and rivals
        ),
    }
    for sentence, holds in notes.items():
        if holds:
            narrator.note(sentence)
