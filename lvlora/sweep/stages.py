"""What a sweep searches, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lvlora.errors import SettingsError
from lvlora.settings.training import SweepSettings
from lvlora.sweep.space import Choice, Params, Space

SAMPLED_TRIALS = 12
_FINAL_TIMES = 4


@dataclass(frozen=True)
class Stage:
    """Trials that are compared with each other.

    Attributes:
        space: what is searched here.
        n_trials: how many trials; points: the settings of each, None where they are sampled.
        percent: of the limit, for all its trials together.
        times: its steps are this many times those of a search.
        follows: it starts from the best of the stage before.
    """

    name: str
    space: Space
    n_trials: int
    points: tuple[Params, ...] | None
    percent: int
    times: int = 1
    follows: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        points = None if self.points is None else [dict(p) for p in self.points]
        return {
            "name": self.name,
            "space": self.space.to_dict(),
            "n_trials": self.n_trials,
            "points": points,
            "percent": self.percent,
            "times": self.times,
            "follows": self.follows,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Stage:
        """The inverse of `to_dict`."""
        points = None if facts["points"] is None else tuple(facts["points"])
        return cls(**{**facts, "space": Space.from_dict(facts["space"]), "points": points})


QUICK = Space({"learning_rate": Choice((3e-4, 1e-3, 3e-3)), "rank": Choice((2, 8))})
COURSEWORK = Space({"learning_rate": Choice((1e-5, 5e-5, 1e-4)), "rank": Choice((2, 4, 8))})
COURSEWORK_CONTEXT = Space({"seq_len": Choice((128, 512, 768))})


def stages_of(settings: SweepSettings, own: Space | None) -> tuple[Stage, ...]:
    """The stages that the settings ask for; ``own`` is the space of ``--space``.

    Raises:
        SettingsError: the sampler does not suit the space, or the pruner the objectives.
    """
    if settings.pareto and settings.pruner != "none":
        raise SettingsError(
            "--pruner and --pareto: a trial that ends early has no place on the front",
            "Give one of them; the front already shows what little FLOPs buy.",
        )
    if own is None and settings.preset == "coursework":
        if settings.sampler not in ("auto", "grid") or settings.trials is not None:
            raise SettingsError(
                "--preset coursework is a fixed grid: --sampler and --trials are not for it",
                "Write its values to a file and give that with --space.",
            )
        grid, contexts = COURSEWORK.points(), COURSEWORK_CONTEXT.points()
        return (
            Stage("search", COURSEWORK, len(grid), tuple(grid), 50),
            Stage("context", COURSEWORK_CONTEXT, len(contexts), tuple(contexts), 20, follows=True),
            Stage("final", Space({}), 1, ({},), 30, _FINAL_TIMES, follows=True),
        )
    space = QUICK if own is None else own
    if sampler_of(settings, space) != "grid":
        n_trials = settings.trials or SAMPLED_TRIALS
        return (Stage("search", space, n_trials, None, 100),)
    points = space.points()
    if settings.trials is not None and settings.trials < len(points):
        order = np.random.default_rng(settings.seed).permutation(len(points))
        points = [points[i] for i in sorted(order[: settings.trials])]
    return (Stage("search", space, len(points), tuple(points), 100),)


def sampler_of(settings: SweepSettings, space: Space) -> str:
    """The search method: what was asked for, or what suits the space."""
    if settings.sampler != "auto":
        return settings.sampler
    return "grid" if space.is_grid else "tpe"
