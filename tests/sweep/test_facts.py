"""What a study is about: read again, compared, and understood where an older version wrote it."""

from __future__ import annotations

import optuna
import pytest

from lvlora.errors import SettingsError
from lvlora.flops.budget import Price
from lvlora.settings.training import SweepSettings, TrainSettings
from lvlora.sweep.facts import check_same, facts_of, plan_in, settings_in
from lvlora.sweep.plan import make_plan
from lvlora.sweep.stages import stages_of
from lvlora.train.step_plan import Cost


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
    with pytest.raises(SettingsError, match=r"--dropout \(was 0.0, not 0.5\)"):
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


def test_a_study_of_another_version_goes_on(settings):
    """What it did not say was as the default is; what it said too much no longer counts."""
    facts = about(settings)
    older = {k: v for k, v in facts["settings"].items() if k not in ("number_format", "loss")}
    study = study_of(settings, facts | {"settings": older | {"max_memory": 10**9}})
    check_same(study, facts)
    again = settings_in(study, settings)
    assert (again.rank, again.number_format, again.max_memory) == (3, "point", 10**9)
    with pytest.raises(SettingsError, match=r"--number-format \(was point, not digits\)"):
        check_same(study, about(settings.model_copy(update={"number_format": "digits"})))


@pytest.mark.parametrize(("dtype", "may"), [("float32", False), ("bfloat16", True)])
def test_a_study_from_before_activations_in_half_is_not_mixed(tmp_path, dtype, may):
    now = SweepSettings(runs=tmp_path, device="cpu", dtype=dtype)
    facts = about(now)
    older = {k: v for k, v in facts["settings"].items() if k != "activations"}
    study = study_of(now, facts | {"settings": older})
    check_same(study, about(now.model_copy(update={"activations": "full"})))
    if may:
        check_same(study, facts)
    else:
        with pytest.raises(SettingsError, match=r"--activations \(was full, not half\)"):
            check_same(study, facts)


def test_a_study_from_before_gaps_were_filled_goes_on_telling_them(settings):
    facts = about(settings.model_copy(update={"gaps": "told"}))
    older = {k: v for k, v in facts["settings"].items() if k != "gaps"}
    study = study_of(settings, facts | {"settings": older})
    check_same(study, facts)
    assert settings_in(study, settings).gaps == "told"
    with pytest.raises(SettingsError, match=r"--gaps \(was told, not filled\)"):
        check_same(study, about(settings))


def test_a_study_that_says_nothing_of_validations_goes_on_as_it_began(settings):
    """Version 0.1.0's first studies: sixteen series, or as many as were told, four times."""
    for told, series in ((None, 16), (2, 2)):
        theirs = settings.model_copy(update={"validation_series": told})
        first = study_of(theirs, about(theirs)).user_attrs["lvlora"]["allotments"]
        allotments = [{k: v for k, v in a.items() if k != "validations"} for a in first]
        found = plan_in(study_of(theirs, about(theirs), allotments)).validations
        assert (found.series, found.times) == (series, 4)
