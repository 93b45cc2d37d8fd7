"""Calibrations on disk: beside the adapter they are for, or among the runs for a plain model.

- An adapter's is ``calibration.json`` in the adapter's folder.
- A base model's without an adapter is ``calibrations/HASH-VARIABLES.json`` among the runs: the
  beginnings of SHA-256 hashes of its weights and of the variables' names, so that data with other
  variables have theirs.

The file names the weights that it is for and holds a hash of its own content: other weights, or a
changed file, are refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lvlora import __version__, durable
from lvlora.errors import ModelError
from lvlora.forecast.calibration import facts
from lvlora.forecast.calibration.offsets import Calibration
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.sampling import Sampling
from lvlora.model.adapters.files import HEAD, WEIGHTS, AdapterInfo
from lvlora.model.loading import BaseModel
from lvlora.narrator import Narrator
from lvlora.series.dataset import Series

NAME = "calibration.json"
FOLDER = "calibrations"
_MAX_BYTES = 50_000_000
_OTHERWISE = "lvlora evaluate DATA --calibrate makes one; without --calibrated none is needed."


def place_of(
    base: BaseModel, info: AdapterInfo | None, runs: Path, variables: Sequence[str]
) -> Path:
    """Where the calibration of a model for data with these variables is written."""
    if info is not None:
        return info.folder / NAME
    names = durable.sha256_of_json(list(variables))
    return runs / FOLDER / f"{base.sha256[:16]}-{names[:8]}.json"


def save(path: Path, calibration: Calibration, base: BaseModel, info: AdapterInfo | None) -> None:
    """Write it, whole or not at all."""
    content = {
        "schema_version": 1,
        "lvlora_version": __version__,
        "model": base.name,
        "weights": _weights(base, info),
        "facts": dict(calibration.facts),
        "offsets": {
            f"{level:.10g}": {"variables": rows[:-1].tolist(), "together": rows[-1].tolist()}
            for level, rows in calibration.offsets.items()
        },
    }
    durable.write_text(
        path, json.dumps({**content, "sha256": durable.sha256_of_json(content)}, indent=1) + "\n"
    )


def load(
    base: BaseModel, info: AdapterInfo | None, runs: Path, variables: Sequence[str]
) -> Calibration:
    """The calibration of a model for data with these variables.

    Raises:
        ModelError: there is none, it is damaged, or it was made for other weights.
    """
    path = place_of(base, info, runs, variables)
    if not path.is_file():
        lacks = (
            "the adapter has no calibration"
            if info is not None
            else f"{base.name} has no calibration for {', '.join(variables)}"
        )
        raise ModelError(f"--calibrated: {lacks} ({path})", _OTHERWISE)
    content = _read(path)
    if content["weights"] != _weights(base, info):
        raise ModelError(
            f"{path}: was made for other weights than these",
            "Calibrate again: lvlora evaluate DATA --calibrate.",
        )
    try:
        offsets = {
            float(level): np.array([*rows["variables"], rows["together"]], dtype=np.float64)
            for level, rows in content["offsets"].items()
        }
        whole = all(rows.ndim == 2 and np.isfinite(rows).all() for rows in offsets.values())
        if not whole or not offsets or len({rows.shape for rows in offsets.values()}) != 1:
            raise ValueError("offsets of different shapes, or none")
        return Calibration(offsets, dict(content["facts"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{path}: is no calibration ({error})", _OTHERWISE) from None


def load_fitting(
    forecaster: LanguageModel,
    info: AdapterInfo | None,
    runs: Path,
    *,
    sampling: Sampling,
    quantiles: Sequence[float],
    horizon: int,
    variables: Sequence[str],
    histories: Sequence[Series],
    narrator: Narrator,
) -> Calibration:
    """A model's calibration, if it serves these forecasts; where it is from is noted.

    Raises:
        ModelError: there is none for this model.
        SettingsError, DataError: it is for other intervals, steps, formats or data.
    """
    found = load(forecaster.base, info, runs, variables)
    found.check(quantiles, horizon)
    facts.check_form(found, forecaster)
    facts.check_data(found, variables, histories)
    narrator.note(facts.origin(found.facts))
    other = facts.other_sampling(found, sampling)
    if other:
        narrator.note(other)
    return found


def _weights(base: BaseModel, info: AdapterInfo | None) -> dict[str, str]:
    """Hashes of all files that decide what the model says."""
    files = {} if info is None else {n: info.folder / n for n in (WEIGHTS, HEAD)}
    hashes = {name: durable.sha256_of(file) for name, file in files.items() if file.is_file()}
    return {"base": base.sha256, **hashes}


def _read(path: Path) -> dict[str, Any]:
    content = durable.read_json_object(path, _MAX_BYTES, wrong=ModelError, hint=_OTHERWISE)
    stated = content.pop("sha256", None)
    if stated != durable.sha256_of_json(content) or "weights" not in content:
        raise ModelError(
            f"{path}: is no whole calibration (its content is not what it was written with)",
            _OTHERWISE,
        )
    return content
