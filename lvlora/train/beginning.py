"""A new run: its folder, the files that describe it, and the run itself, ready for its first step.

Knows: what each file says. Does not know: who asks for the run, and what is done with its result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvlora import durable
from lvlora.flops.ledger import Ledger
from lvlora.model.devices import set_threads
from lvlora.settings import TrainSettings
from lvlora.settings.toml_text import to_toml
from lvlora.train.observer import Observer
from lvlora.train.progress import Result
from lvlora.train.ranks import ALONE, Ranks
from lvlora.train.run import Run
from lvlora.train.run_folder import RunFolder, create
from lvlora.train.setup import Prepared
from lvlora.train.trackers.tracked import tracked


def begin(
    prepared: Prepared, sources: Mapping[str, str], observer: Observer, ranks: Ranks = ALONE
) -> Run:
    """A run in a new folder that says all that is needed to repeat it.

    Args:
        sources: name of a setting -> where its value came from.
        observer: who watches, besides the settings' trackers.

    Raises:
        SettingsError: the folder is taken.
    """
    settings = prepared.settings
    slug = f"{prepared.source.name}-r{settings.rank}"
    folder = create(settings.runs, settings.out, slug, settings.overwrite)
    if settings.out is not None:
        with Ledger.for_runs(settings.runs) as ledger:
            folder.take_name({row.run for row in ledger.rows()})
    write_settings(folder, settings, sources, prepared)
    return Run(prepared, folder, tracked(observer, prepared, folder), ranks=ranks)


def write_settings(
    folder: RunFolder, settings: TrainSettings, sources: Mapping[str, str], prepared: Prepared
) -> None:
    """config.toml, sources.json, data.json, split.json and environment.json."""
    durable.write_text(folder.config, to_toml("train", settings))
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
    """A finished run as JSON: what ``lvlora train --json`` prints and result.json keeps."""
    from dataclasses import asdict

    return {
        **asdict(result),
        "folder": str(folder.path),
        "files": [str(path) for path in written],
    }
