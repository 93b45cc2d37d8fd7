"""Settings of `lvlora sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from lvlora.settings.base import Flops, option
from lvlora.train.settings import COURSEWORK, LearningSettings, training_option


class SweepSettings(LearningSettings):
    """`lvlora sweep`: an Optuna study under one FLOP budget; its other settings are each trial's.

    A trial's own ``max_flops`` is what the plan gives it; here it is the limit of the whole sweep.
    """

    common: ClassVar[tuple[str, ...]] = (
        "model",
        "max_flops",
        "trials",
        "max_steps",
        "preset",
        "space",
        "sampler",
        "study",
        "status",
        "columns",
        "id_column",
        "time_column",
    )

    max_flops: Flops | None = option(
        None,
        "FLOPs that the whole sweep may spend; the steps of each trial follow from it.",
        "Budget",
        affects="limit",
    )
    max_steps: int | None = training_option(
        None, "Optimiser steps of each trial. Default: what the limit buys, else 200.", ge=1
    )
    preset: Literal["quick", "coursework"] = training_option(
        "quick",
        "The space to search: quick (learning rate by rank), or coursework (the same, "
        "then the context, then a longer final run).",
    )
    space: Path | None = training_option(
        None, "TOML file with a search space of your own; see docs/sweep.md."
    )
    sampler: Literal["auto", "grid", "random", "tpe"] = training_option(
        "auto", "Search method; auto: grid where all is listed, else tpe."
    )
    trials: int | None = training_option(
        None,
        "Trials of the search. Default: the whole grid; 12 of random and tpe.",
        ge=1,
        le=10_000,
    )
    study: str = option(
        "sweep",
        "Name of the study; a study of this name is continued.",
        "Output",
        affects="project",
    )
    status: bool = option(False, "Show the study and stop.", "Output", affects="project")

    @model_validator(mode="before")
    @classmethod
    def _as_the_coursework(cls, values: Any) -> Any:
        """Its preset trains what it trained, unless something else is asked for."""
        if not isinstance(values, dict) or values.get("preset") != "coursework":
            return values
        return values if values.get("space") else {**COURSEWORK, **values}
