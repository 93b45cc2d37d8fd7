"""Settings of `lvlora experiment`, and the stages that its file names, each with a command's own.

A file for ``--config`` may have two more tables than those of commands: ``[stages.NAME]``, a stage
each in the order of the file, and ``[scales.SCALE]``, with which the same experiment is made
smaller or larger.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from lvlora.errors import SettingsError, did_you_mean
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.settings.base import Seed, option
from lvlora.settings.configuration import SCALES, STAGES, Source, load_toml
from lvlora.settings.fields import complaints, read_fields
from lvlora.settings.shared import LimitSettings, ModelSettings, ResourceSettings, SplitSettings
from lvlora.sweep.settings import SweepSettings
from lvlora.train.settings import TrainSettings

Command = Literal["train", "sweep", "evaluate"]

COMMANDS: dict[Command, type[TrainSettings] | type[SweepSettings] | type[EvaluateSettings]] = {
    "train": TrainSettings,
    "sweep": SweepSettings,
    "evaluate": EvaluateSettings,
}
"""Commands of stages."""

_UNPRICED = frozenset({"calibrate"})
"""Settings of an evaluation whose work has no price before it begins."""


class ExperimentSettings(SplitSettings, ModelSettings, ResourceSettings, LimitSettings):
    """`lvlora experiment`: the stages of a file, one after the other; these settings are of all."""

    supports_dry_run: ClassVar[bool] = True

    scale: str | None = option(
        None,
        "Size of the experiment: the name of a table [scales.NAME] of the file. Default: "
        "the stages as written.",
        "Training",
        affects="result",
        min_length=1,
    )
    seed: Seed = option(
        0, "Seed of initial weights, batches, dropout and draws.", "Training", affects="result"
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
    """Part of an experiment: a command with its settings, and the source of each."""

    name: str
    command: Command
    settings: TrainSettings | SweepSettings | EvaluateSettings
    sources: dict[str, str]

    def deciding(self, data_sha256: str) -> dict[str, Any]:
        """Return all that decides the stage's result."""
        settings = self.settings.deciding("result", "model", "limit")
        return {"command": self.command, **settings, "data": data_sha256}


def read_stages(
    settings: ExperimentSettings, sources: Mapping[str, Source], config: Path | None
) -> tuple[Path, tuple[Stage, ...]]:
    """Return the experiment's folder, and its stages in the order of the file.

    Raises:
        SettingsError: there is no file, or no stage in it, or all that is wrong with a stage.
    """
    if config is None or str(config) == "-":
        raise SettingsError(
            "an experiment needs the file that names its stages.",
            "lvlora experiment DATA --config examples/coursework.toml",
        )
    document = load_toml(str(config), str(config))
    tables = _tables(document, STAGES, config)
    if not tables:
        raise SettingsError(
            f"{config}: has no [stages.NAME]; they are what an experiment is made of.",
            "examples/coursework.toml has seven.",
        )
    scale: Mapping[str, Any] = {}
    if settings.scale is not None:
        scales = _tables(document, SCALES, config)
        _check_known(settings.scale, scales, f"--scale of {config}")
        scale = scales[settings.scale]
        for name in (key for key, value in scale.items() if isinstance(value, dict)):
            _check_known(name, tables, f"[{SCALES}.{settings.scale}] of {config}")
    folder = settings.out or Path("runs") / config.stem
    shared = {**settings.model_dump(exclude={"scale", "out"}), "runs": folder}
    stages = []
    for name, table in tables.items():
        where = f"[{STAGES}.{name}] of {config}"
        command: Command = table.get("command", "")
        _check_known(command, COMMANDS, f"command in {where}")
        values = _values(command, name, table, document, scale, where)
        # an evaluation's folder is named by what is scored: what two stages share is forecast once
        place = {"out": None if command == "evaluate" else folder / name, "study": name}
        model = COMMANDS[command]
        fixed = {key: v for key, v in {**shared, **place}.items() if key in model.model_fields}
        origins = dict.fromkeys(values, "config")
        origins |= {key: sources.get(key, "default") for key in fixed}
        try:
            stages.append(Stage(name, command, model(**{**values, **fixed}), origins))
        except ValidationError as error:
            wrong = complaints(error, read_fields(model), lambda field: field.label)
            raise SettingsError(
                "\n  ".join([f"{where}:", *wrong]),
                f"lvlora {command} --help explains every option.",
            ) from None
    return folder, tuple(stages)


def _values(
    command: Command,
    stage: str,
    table: Mapping[str, Any],
    document: Mapping[str, Any],
    scale: Mapping[str, Any],
    where: str,
) -> dict[str, Any]:
    """Return what the file says for a stage; later tables of `layers` win."""
    fields = COMMANDS[command].model_fields
    affecting = COMMANDS[command].affecting("result", "model", "placement", "limit", "resources")
    possible = (affecting | {"tracker"}) - ExperimentSettings.model_fields.keys() - _UNPRICED
    layers = [  # (table, whether it is of this stage alone)
        (document, False),
        (document.get(command, {}), False),
        ({key: value for key, value in table.items() if key != "command"}, True),
        (scale, False),
        (scale.get(stage, {}), True),
    ]
    values = {}
    for layer, is_own in layers:
        for key, value in layer.items():
            name = key.replace("-", "_")
            if isinstance(value, dict):
                continue
            if is_own and name in fields and name not in possible:
                raise SettingsError(
                    f"{name} in {where}: cannot be set for one stage", "Take it out."
                )
            if is_own or name in possible:
                values[name] = value
    return values


def _check_known(name: object, known: Collection[str], where: str) -> None:
    if name not in known:
        near = did_you_mean(str(name), known) or "."
        raise SettingsError(f"{where}: there is no {name!r}{near}", f"It is {', '.join(known)}.")


def _tables(document: Mapping[str, Any], name: str, config: Path) -> Mapping[str, dict[str, Any]]:
    tables = document.get(name, {})
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
        raise SettingsError(f"{name} in {config}: should be tables", f"Write [{name}.NAME].")
    return tables
