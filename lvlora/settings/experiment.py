"""Settings of `lvlora experiment`, and the stages that its file names, each with a command's own.

A file for ``--config`` may have two more tables than those of commands: ``[stages.NAME]``, a stage
each in the order of the file, and ``[scales.SCALE]``, with which the same experiment is made
smaller or larger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from lvlora.errors import SettingsError
from lvlora.guesses import did_you_mean
from lvlora.settings.base import Convention, FlopsOrNone, Seed, Settings, option
from lvlora.settings.complaints import complaints
from lvlora.settings.configuration import SCALES, STAGES, Source, load_toml
from lvlora.settings.data import MemorySettings, ModelSettings, SplitSettings
from lvlora.settings.fields import read_fields
from lvlora.settings.scoring import EvaluateSettings
from lvlora.settings.training import SweepSettings, TrainSettings

StageSettings = TrainSettings | SweepSettings | EvaluateSettings

COMMANDS: dict[str, type[TrainSettings] | type[SweepSettings] | type[EvaluateSettings]] = {
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
    """One part of an experiment: a command with its settings.

    Attributes:
        sources: setting → where its value came from.
    """

    name: str
    command: Literal["train", "sweep", "evaluate"]
    settings: StageSettings
    sources: dict[str, Source]


@dataclass(frozen=True)
class _Given:
    value: Any
    source: Source
    label: str


def read_stages(
    settings: ExperimentSettings, sources: Mapping[str, Source], config: Path | None
) -> tuple[Path, tuple[Stage, ...]]:
    """The experiment's folder, and its stages in the order of the file.

    A stage's settings are, the later the stronger: the file's keys outside all tables, its table of
    the command, the stage's own, those of the scale, the scale's of the stage; and what is a
    setting of the whole experiment.

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
    scales = _table(document.get(SCALES), SCALES, config)
    scale: Mapping[str, Any] = {}
    if settings.scale is not None:
        if settings.scale not in scales:
            near = did_you_mean(settings.scale, scales) or "."
            raise SettingsError(
                f"--scale {settings.scale}: {config} has no [scales.{settings.scale}]{near}",
                f"It has: {', '.join(scales) or 'none'}.",
            )
        scale = _table(scales[settings.scale], f"{SCALES}.{settings.scale}", config)
    folder = settings.out or Path("runs") / config.stem
    problems = [
        f"[{SCALES}.{settings.scale}.{name}] of {config}: is not a stage"
        f"{did_you_mean(name, tables)}"
        for name, value in scale.items()
        if isinstance(value, dict) and name not in tables
    ]
    stages = []
    for name, table in tables.items():
        stage = _stage(
            name,
            _table(table, f"{STAGES}.{name}", config),
            [
                (f"of {config}", {k: v for k, v in document.items() if not isinstance(v, dict)}),
                (f"of {config}", document),
                (f"in [{STAGES}.{name}] of {config}", table),
                (f"in [{SCALES}.{settings.scale}] of {config}", scale),
                (f"in [{SCALES}.{settings.scale}.{name}] of {config}", scale.get(name, {})),
            ],
            _of_all(settings, sources),
            folder,
            problems,
        )
        if stage is not None:
            stages.append(stage)
    if problems:
        many = "" if len(problems) == 1 else f"{len(problems)} settings are wrong:\n  "
        raise SettingsError(
            many + "\n  ".join(problems), "lvlora COMMAND --help explains every option."
        )
    return folder, tuple(stages)


def _table(found: object, name: str, config: Path) -> Mapping[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsError(f"{name} in {config}: should be a table", f"Write [{name}.NAME].")
    return found


def _of_all(settings: ExperimentSettings, sources: Mapping[str, Source]) -> dict[str, _Given]:
    """The settings that hold for every stage."""
    return {
        name: _Given(getattr(settings, name), sources[name], f"--{name.replace('_', '-')}")
        for name in ExperimentSettings.model_fields
        if name not in ("scale", "out")
    }


def _stage(
    name: str,
    table: Mapping[str, Any],
    layers: Sequence[tuple[str, Mapping[str, Any]]],
    of_all: Mapping[str, _Given],
    folder: Path,
    problems: list[str],
) -> Stage | None:
    """A stage, or None where something is wrong with it, which ``problems`` then says.

    Args:
        layers: where keys stand, and the keys: of the whole file, of its command's table (found in
            the document), of the stage, of the scale, of the scale's stage.
    """
    command = table.get("command")
    if command not in COMMANDS:
        problems.append(
            f"command {layers[2][0]}: should be {', '.join(COMMANDS)}, got {command!r}"
            f"{did_you_mean(str(command), COMMANDS)}"
        )
        return None
    model = COMMANDS[command]
    (where, shared), (_, document), *own, (part, of_part) = layers
    commands_own = document.get(command, {})
    before = len(problems)
    given: dict[str, _Given] = {}
    _take(shared, where, model, given, problems, lenient=True)
    if isinstance(commands_own, dict):
        _take(commands_own, f"in [{command}] {where}", model, given, problems, lenient=True)
    (stage_where, stage_table), (scale_where, scale) = own
    keys = {key: value for key, value in stage_table.items() if key != "command"}
    _take(keys, stage_where, model, given, problems)
    plain = {key: value for key, value in scale.items() if not isinstance(value, dict)}
    _take(plain, scale_where, model, given, problems, lenient=True)
    _take(of_part, part, model, given, problems)
    given |= {key: found for key, found in of_all.items() if key in model.model_fields}
    # an evaluation's folder is named by what is scored: what two stages share is forecast once
    out = None if command == "evaluate" else folder / name
    for key, place in (("runs", folder), ("out", out), ("study", name)):
        if key in model.model_fields:
            given[key] = _Given(place, "default", key)
    fields = read_fields(model)
    if len(problems) > before:
        return None
    try:
        settings = model(**{key: found.value for key, found in given.items()})
    except ValidationError as error:
        problems += [
            f"{complaint} (stage {name})"
            for complaint in complaints(
                error, fields, lambda f: given[f.name].label if f.name in given else f.name
            )
        ]
        return None
    sources: dict[str, Source] = {
        key: given[key].source if key in given else "default" for key in model.model_fields
    }
    return Stage(name, command, settings, sources)


def _take(
    table: Mapping[str, Any],
    where: str,
    model: type[Settings],
    given: dict[str, _Given],
    problems: list[str],
    *,
    lenient: bool = False,
) -> None:
    """Add a table's keys to what is given.

    Args:
        lenient: the table is of several commands, so that a key may be of another one.
    """
    refused: Collection[str] = (
        *_PLACES,
        *_NOT_OF_A_STAGE,
        *(name for name in ExperimentSettings.model_fields if name != "out"),
    )
    for key, value in table.items():
        field, label = key.replace("-", "_"), f"{key} {where}"
        if field not in model.model_fields:
            if not lenient:
                near = did_you_mean(field, model.model_fields)
                problems.append(f"{label}: is not a setting of this stage's command{near}")
        elif field in refused:
            if not lenient:
                problems.append(f"{label}: is the experiment's to say, not a stage's")
        else:
            given[field] = _Given(value, "config", label)
