"""What a study is about: kept in it, read from it again, and compared with what is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlora.errors import SettingsError
from lvlora.model import devices
from lvlora.settings.training import SweepSettings
from lvlora.sweep.plan import Allotment, SearchPlan
from lvlora.sweep.stages import Stage
from lvlora.train import remembered
from lvlora.train.step_plan import USUAL, Validations

if TYPE_CHECKING:
    from optuna import Study

_ELSEWHERE = ("data", "max_flops", "preset", "space")
"""Settings that a study's facts tell in words of their own: as hash, limit and stages."""


def facts_of(
    settings: SweepSettings, stages: tuple[Stage, ...], sampler: str, data_sha256: str
) -> dict[str, Any]:
    """What a study is about, to be kept in it.

    Args:
        settings: with the steps that are held out (`held_out.steps_of`).
    """
    compared = settings.deciding("result", "data", "model", "placement", "limit")
    facts: dict[str, Any] = {
        "settings": {k: v for k, v in compared.items() if k not in _ELSEWHERE},
        "data": None if settings.data is None else str(settings.data),
        "data_sha256": data_sha256,
        "stages": [stage.to_dict() for stage in stages],
        "sampler": sampler,
        "max_flops": None if settings.max_flops is None else str(settings.max_flops),
    }
    as_read: dict[str, Any] = json.loads(json.dumps(facts))
    return as_read


def facts_in(study: Study) -> dict[str, Any]:
    """What a study is about.

    Raises:
        SettingsError: it was made by something else.
    """
    facts: dict[str, Any] | None = study.user_attrs.get("lvlora")
    if facts is None:
        raise SettingsError(
            f"--study {study.study_name}: was not made by lvlora sweep", "Choose another --study."
        )
    return facts


def plan_in(study: Study) -> SearchPlan:
    """The plan that the study was made with."""
    facts = facts_in(study)
    before = Validations(facts["settings"].get("validation_series") or USUAL.series, USUAL.times)
    return SearchPlan(
        tuple(Stage.from_dict(s) for s in facts["stages"]),
        tuple(Allotment.from_dict(a, before) for a in facts["allotments"]),
    )


def limit_in(study: Study) -> int | None:
    """FLOPs that the study was to spend, in its convention."""
    limit = facts_in(study)["max_flops"]
    return None if limit is None else int(limit)


def settings_in(study: Study, given: SweepSettings) -> SweepSettings:
    """The settings that the study was made with, found where ``given`` says it is."""
    facts = facts_in(study)
    return SweepSettings(
        **SweepSettings.before("result") | facts["settings"],
        data=facts["data"],
        max_flops=facts["max_flops"],
        runs=given.runs,
        study=given.study,
        storage=given.storage,
    )


def check_same(study: Study, facts: Mapping[str, Any]) -> None:
    """Refuse to go on with a study of something else.

    Raises:
        SettingsError: naming what is not as it was.
    """
    was = facts_in(study)
    # a setting that a study did not have yet was what its default is, but for these
    before = {
        **SweepSettings().model_dump(mode="json"),
        **SweepSettings.before("result"),
        **was["settings"],
    }
    now = facts["settings"]
    if "activations" not in was["settings"]:
        differs = remembered.is_wanted("half", devices.choose(now["device"], now["dtype"]))
        unsaid = {"activations": now["activations"]}
        before |= SweepSettings.before("placement") if differs else unsaid
    changed = [
        f"--{name.replace('_', '-')} (was {before[name]}, not {value})"
        for name, value in now.items()
        if before[name] != value
    ]
    changed += ["what is searched"] * (was["stages"] != facts["stages"])
    changed += ["the data"] * (was["data_sha256"] != facts["data_sha256"])
    if changed:
        raise SettingsError(
            f"study {study.study_name} is about something else: {', '.join(changed)}",
            "Start another one with --study NAME, or go on with the same settings.",
        )
