"""What a study is about: read again, compared, and understood where an older version wrote it."""

from __future__ import annotations

import optuna
import pytest

from lvlora.errors import SettingsError
from lvlora.flops.budget import Price
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep.facts import check_same, facts_of
from lvlora.sweep.plan import make_plan
from lvlora.sweep.stages import stages_of
from lvlora.train.schedule import Cost


@pytest.fixture
def settings(tmp_path):
    return SweepSettings(runs=tmp_path, rank=3)


def about(settings):
    return facts_of(settings, stages_of(settings, None), "grid", "abc")


def study_of(settings, facts, allotments=None):
    """A study in memory."""
    if allotments is None:
        plan = make_plan(
            stages_of(settings, None),
            settings,
            TrainSettings(),
            {},
            lambda trial: Cost(Price(10, 20), Price(1, 2)),
        )
        allotments = [allotment.to_dict() for allotment in plan.allotments]
    study = optuna.create_study()
    study.set_user_attr("lvlora", {**facts, "allotments": allotments})
    return study


def test_what_changed_is_named(settings):
    facts = about(settings)
    study = study_of(settings, facts)
    changed = settings.model_copy(update={"dropout": 0.5})
    with pytest.raises(SettingsError, match=r"dropout \(was 0.0, not 0.5\)"):
        check_same(study, about(changed))
    with pytest.raises(SettingsError, match="the data"):
        check_same(study, facts | {"data_sha256": "other"})
    with pytest.raises(SettingsError, match="what is searched"):
        check_same(study, facts | {"stages": facts["stages"][:0]})


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 4, "threads": 2, "max_memory": 10**9},
        {"max_flops": 10**18, "budget": 10**18},
        {"save_every": 3, "tracker": ("tensorboard",), "study": "renamed"},
    ],
)
def test_where_it_runs_and_what_it_may_spend_may_change(settings, changes):
    check_same(study_of(settings, about(settings)), about(settings.model_copy(update=changes)))
