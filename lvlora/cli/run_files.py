"""The files that describe a run beside its adapter, written before its first step.

Knows: what each file says. Does not know: who makes the run (train makes one, sweep many).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora.cli.configuration import Resolved, as_toml
from lvlora.settings import TrainSettings

if TYPE_CHECKING:
    from lvlora.train.run import Result
    from lvlora.train.run_folder import RunFolder
    from lvlora.train.setup import Prepared


def write_settings(
    folder: RunFolder, settings: TrainSettings, sources: Mapping[str, str], prepared: Prepared
) -> None:
    """config.toml, sources.json, data.json, split.json and environment.json."""
    from lvlora import durable
    from lvlora.model.devices import set_threads

    durable.write_text(folder.config, as_toml("train", Resolved(settings, {})))
    durable.write_text(folder.sources, json.dumps(dict(sources), indent=1) + "\n")
    data = {
        "source": prepared.dataset.source,
        "series": len(prepared.dataset),
        "variables": list(prepared.dataset.variables),
        "sha256": prepared.dataset.sha256(),
        "split": prepared.split.sha256,
    }
    durable.write_text(folder.path / "data.json", json.dumps(data, indent=1) + "\n")
    durable.write_text(folder.path / "split.json", prepared.split.to_json())
    placement = prepared.base.placement
    dtype = str(placement.dtype).removeprefix("torch.")
    folder.write_environment(str(placement.device), set_threads(None), dtype)


def run_payload(result: Result, folder: RunFolder, written: list[Path]) -> dict[str, Any]:
    """A finished run as the command's JSON."""
    from dataclasses import asdict

    return {
        **asdict(result),
        "folder": str(folder.path),
        "files": [str(path) for path in written],
    }
