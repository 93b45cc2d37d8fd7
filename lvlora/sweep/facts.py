"""What a study is about: kept in it, read from it again, and compared with what is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lvlora.errors import SettingsError
from lvlora.settings.training import SweepSettings
from lvlora.sweep.plan import Allotment, SearchPlan
from lvlora.sweep.stages import Stage

if TYPE_CHECKING:
    from optuna import Study

_ELSEWHERE = ("data", "max_flops", "preset", "space")
"""Settings that a study's facts tell in words of their own: as hash, limit and stages."""


def facts_of(
    settings: SweepSettings, stages: tuple[Stage, ...], sampler: str, data_sha256: str
) -> dict[str, Any]:
    """What a study is about, to be kept in it.

    Args:
        settings: with the steps that are held out (`validation.held_out_steps`).
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
    return SearchPlan(
        tuple(Stage.from_dict(s) for s in facts["stages"]),
        tuple(Allotment.from_dict(a) for a in facts["allotments"]),
    )


def limit_in(study: Study) -> int | None:
    """FLOPs that the study was to spend, in its convention."""
    limit = facts_in(study)["max_flops"]
    return None if limit is None else int(limit)


def settings_in(study: Study, given: SweepSettings) -> SweepSettings:
    """The settings that the study was made with, found where ``given`` says it is."""
    facts = facts_in(study)
    return SweepSettings(
        **facts["settings"],
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
    before, now = was["settings"], facts["settings"]
    changed = [
        f"--{name.replace('_', '-')} (was {before.get(name)}, not {now.get(name)})"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    changed += ["what is searched"] * (was["stages"] != facts["stages"])
    changed += ["the data"] * (was["data_sha256"] != facts["data_sha256"])
    if changed:
        raise SettingsError(
            f"study {study.study_name} is about something else: {', '.join(changed)}",
            "Start another one with --study NAME, or go on with the same settings.",
        )
