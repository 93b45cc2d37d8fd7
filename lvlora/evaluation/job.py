"""One evaluation before its work: do its settings go together, what is scored, and where to?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lvlora.data.analysis.clusters import cluster
from lvlora.data.analysis.dynamics import measure
from lvlora.data.dataset import Dataset
from lvlora.data.splits import STRATA, Split, split_of
from lvlora.errors import SettingsError
from lvlora.evaluation.candidates import Candidate, candidates
from lvlora.evaluation.disturbance import Disturbance
from lvlora.evaluation.folder import EvaluationFolder, key_of
from lvlora.evaluation.protocol import Protocol, Task, task, with_steps_that_fit
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.ensemble import NAME
from lvlora.forecast.open_model import warn_of_seen
from lvlora.forecast.rivals import RoundingFloor, default_rivals
from lvlora.forecast.sampling import Sampling
from lvlora.model.devices import set_threads
from lvlora.narrator import Narrator

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
