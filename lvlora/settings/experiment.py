"""Settings of `lvlora experiment`, and the stages that its file names, each with a command's own.

A file for ``--config`` may have two more tables than those of commands: ``[stages.NAME]``, a stage
each in the order of the file, and ``[scales.SCALE]``, with which the same experiment is made
smaller or larger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from lvlora.errors import SettingsError
from lvlora.guesses import did_you_mean
from lvlora.settings.base import Convention, FlopsOrNone, Seed, option
from lvlora.settings.complaints import complaints
from lvlora.settings.configuration import SCALES, STAGES, Source, load_toml
from lvlora.settings.data import MemorySettings, ModelSettings, SplitSettings
from lvlora.settings.fields import read_fields
from lvlora.settings.scoring import EvaluateSettings
from lvlora.settings.training import SweepSettings, TrainSettings

StageSettings = TrainSettings | SweepSettings | EvaluateSettings
Command = Literal["train", "sweep", "evaluate"]

COMMANDS: dict[Command, type[TrainSettings] | type[SweepSettings] | type[EvaluateSettings]] = {
    "train": TrainSettings,
    "sweep": SweepSettings,
    "evaluate": EvaluateSettings,
}
"""What a stage can be."""

_PLACES = ("runs", "out", "study")
"""Where a stage is kept: in the experiment's folder, under its own name."""
_NOT_OF_A_STAGE = (
    *("resume", "overwrite", "output", "fresh", "export_task", "status", "storage", "workers"),
    *("forecasts", "calibrate", "together"),
)
"""What would not be skipped, or could not be gone on with."""


class ExperimentSettings(SplitSettings, ModelSettings, MemorySettings):
    """`lvlora experiment`: the stages of a file, one after the other; these settings are of all."""

    supports_dry_run: ClassVar[bool] = True

    budget: FlopsOrNone | None = option(
        None,
        "FLOPs that the whole experiment may spend, e.g. 1e17; kept in the ledger of its folder.",
        "Budget",
        affects="project",
    )
    convention: Convention = option(
        "executed",
        "Convention in which the limits hold (both are always recorded).",
        "Budget",
        affects="limit",
    )
    scale: str | None = option(
        None,
        "How large: the name of a table [scales.NAME] of the file. Default: the stages as they "
        "stand.",
        "Training",
        affects="result",
        min_length=1,
    )
    seed: Seed = option(
        0, "Seed of initial weights, batches, dropout and draws.", "Training", affects="result"
    )
    threads: int | None = option(
        None, "CPU threads. Default: all cores.", "Model", affects="resources", ge=1, le=1024
    )
    out: Path | None = option(
        None,
        "Folder of the experiment: its stages, ledger, accounting and report. Default: one in runs "
        "named like the file.",
        "Output",
        affects="output",
    )


@dataclass(frozen=True)
class Stage:
    """Part of an experiment: a command with its settings.

    Attributes:
        sources: setting → where its value came from.
    """

    name: str
    command: Command
    settings: StageSettings
    sources: dict[str, Source]


def read_stages(
    settings: ExperimentSettings, sources: Mapping[str, Source], config: Path | None
) -> tuple[Path, tuple[Stage, ...]]:
    """Return the experiment's folder, and its stages in the order of the file.

    Later settings replace earlier ones: the file's keys outside all tables, its table of the
    command, the stage's own, those of the scale, the scale's of the stage, and what is a setting
    of the whole experiment.

    Raises:
        SettingsError: there is no file, or no stage in it, or with all that is wrong with them.
    """
    if config is None or str(config) == "-":
        raise SettingsError(
            "an experiment needs the file that names its stages.",
            "lvlora experiment DATA --config examples/coursework.toml",
        )
    document = load_toml(str(config), str(config))
    tables = _table(document.get(STAGES), STAGES, config)
    if not tables:
        raise SettingsError(
            f"{config}: has no [stages.NAME]; they are what an experiment is made of.",
            "examples/coursework.toml has seven.",
        )
    scale_name = f"{SCALES}.{settings.scale}"
    scale: Mapping[str, Any] = {}
    if settings.scale is not None:
        scales = _table(document.get(SCALES), SCALES, config)
        if settings.scale not in scales:
            near = did_you_mean(settings.scale, scales) or "."
            raise SettingsError(
                f"--scale {settings.scale}: {config} has no [{scale_name}]{near}",
                f"It has: {', '.join(scales) or 'none'}.",
            )
        scale = _table(scales[settings.scale], scale_name, config)
    folder = settings.out or Path("runs") / config.stem
    problems = [
        f"[{scale_name}.{name}] of {config}: is not a stage{did_you_mean(name, tables)}"
        for name, value in scale.items()
        if isinstance(value, dict) and name not in tables
    ]
    shared = {name: getattr(settings, name) for name in _SHARED}
    stages = []
    for name in tables:
        table = _table(tables[name], f"{STAGES}.{name}", config)
        command = table.get("command")
        if command not in COMMANDS:
            problems.append(
                f"command in [{STAGES}.{name}] of {config}: should be {', '.join(COMMANDS)}, got "
                f"{command!r}{did_you_mean(str(command), COMMANDS)}"
            )
            continue
        own = {key: value for key, value in table.items() if key != "command"}
        layers = [
            _Layer(f"of {config}", document),
            _Layer(f"in [{command}] of {config}", document.get(command, {})),
            _Layer(f"in [{STAGES}.{name}] of {config}", own, strict=True),
            _Layer(f"in [{scale_name}] of {config}", scale),
            _Layer(f"in [{scale_name}.{name}] of {config}", scale.get(name, {}), strict=True),
        ]
        # an evaluation's folder is named by what is scored: what two stages share is forecast once
        out = None if command == "evaluate" else folder / name
        places = {"runs": folder, "out": out, "study": name}
        stage = _stage(name, command, layers, shared, places, sources, problems)
        if stage is not None:
            stages.append(stage)
    if problems:
        several = "" if len(problems) == 1 else f"{len(problems)} settings are wrong:\n  "
        raise SettingsError(
            several + "\n  ".join(problems), "lvlora COMMAND --help explains every option."
        )
    return folder, tuple(stages)


_SHARED = tuple(name for name in ExperimentSettings.model_fields if name not in ("scale", "out"))
"""Settings that hold for every stage, and that no stage may set."""
_REFUSED = (*_PLACES, *_NOT_OF_A_STAGE, "scale", *_SHARED)


@dataclass(frozen=True)
class _Layer:
    """Keys of one table; a strict one is for this stage alone, so that every key must fit."""

    where: str
    keys: Mapping[str, Any]
    strict: bool = False


def _table(value: object, name: str, config: Path) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise SettingsError(f"{name} in {config}: should be a table", f"Write [{name}.NAME].")
    return value


def _stage(
    name: str,
    command: Command,
    layers: Sequence[_Layer],
    shared: Mapping[str, Any],
    places: Mapping[str, Any],
    shared_sources: Mapping[str, Source],
    problems: list[str],
) -> Stage | None:
    """Return a stage; None where something is wrong with it, which is added to ``problems``."""
    model = COMMANDS[command]
    before = len(problems)
    values: dict[str, Any] = {}
    labels: dict[str, str] = {}
    for layer in layers:
        if not isinstance(layer.keys, dict):
            problems.append(f"{name} {layer.where}: should be a table")
            continue
        for key, value in layer.keys.items():
            field, label = key.replace("-", "_"), f"{key} {layer.where}"
            if isinstance(value, dict) and not layer.strict:
                continue
            if field in model.model_fields and field not in _REFUSED:
                values[field], labels[field] = value, label
            elif layer.strict and field in model.model_fields:
                problems.append(f"{label}: is the experiment's to say, not a stage's")
            elif layer.strict:
                near = did_you_mean(field, model.model_fields)
                problems.append(f"{label}: is not a setting of this stage's command{near}")
    sources: dict[str, Source] = dict.fromkeys(model.model_fields, "default")
    sources |= dict.fromkeys(values, "config")
    sources |= {key: shared_sources[key] for key in shared if key in model.model_fields}
    labels |= {key: f"--{key.replace('_', '-')}" for key in shared}
    values |= {
        key: value for key, value in {**shared, **places}.items() if key in model.model_fields
    }
    if len(problems) > before:
        return None
    try:
        return Stage(name, command, model(**values), sources)
    except ValidationError as error:
        fields = read_fields(model)
        wrong = complaints(error, fields, lambda field: labels.get(field.name, field.name))
        problems += [f"{complaint} (stage {name})" for complaint in wrong]
        return None
