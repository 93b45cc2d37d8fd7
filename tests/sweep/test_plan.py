"""Plans: shares of a limit, steps that follow from them, and refusals."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvlora.answers import NOTHING, Price
from lvlora.errors import BudgetError, SettingsError
from lvlora.sweep.plan import SearchPlan, make_plan, stages_of
from lvlora.sweep.settings import SweepSettings
from lvlora.sweep.space import Range, Space
from lvlora.train.plan import Cost
from lvlora.train.settings import TrainSettings

BASE = TrainSettings()


def cost(trial: TrainSettings) -> Cost:
    """A step costs its rank and its context; a validation of sixteen a hundred steps of rank 1.

    More decimals make validations dearer.
    """
    step, series = 1000 * trial.rank + trial.seq_len * 50, trial.validation_series or 16
    each = 3_125 * trial.decimals
    return Cost(Price(step, 2 * step), Price(each * series, 3 * each * series), series=series)


def plan_of(
    limits: dict[str, int] | None = None, own: Space | None = None, **given: object
) -> SearchPlan:
    chosen = SweepSettings(**given)
    return make_plan(stages_of(chosen, own), chosen, BASE, limits or {}, cost)


def test_the_coursework_trains_what_it_trained_unless_told_otherwise():
    own, preset = SweepSettings(), SweepSettings(preset="coursework")
    assert (preset.targets, preset.batch_size, preset.seq_len) == (("q_proj", "v_proj"), 4, 512)
    assert preset.scale_jitter == 0.0
    assert own.targets == ("all-linear",)
    messages = SweepSettings(preset="coursework", targets=("all-linear",), seq_len=256)
    assert (messages.targets, messages.batch_size, messages.seq_len) == (("all-linear",), 4, 256)
    other = SweepSettings(preset="coursework", space="space.toml")
    assert other.targets == own.targets


def test_the_coursework_is_nine_then_three_then_one():
    plan = plan_of(preset="coursework")
    assert [(s.stage, s.trials) for s in plan.stages] == [
        ("search", 9),
        ("context", 3),
        ("final", 1),
    ]
    assert plan.stages[0].points[0] == {"learning_rate": 1e-5, "rank": 2}
    assert [p["seq_len"] for p in plan.stages[1].points] == [128, 512, 768]
    assert plan.trials == 13
    assert [plan.stage_of(slot) for slot in (0, 8, 9, 11, 12)] == [0, 0, 1, 1, 2]


def test_without_a_limit_steps_are_as_given_and_the_final_run_is_longer():
    plan = plan_of(preset="coursework", max_steps=30)
    assert [a.trial_steps for a in plan.stages] == [30, 30, 120]
    assert plan_of(preset="coursework").stages[0].trial_steps == 200


def test_the_price_of_a_grid_is_the_sum_of_its_trials():
    plan = plan_of(own=Space({"rank": (2, 10)}), max_steps=4)
    (stage,) = plan.stages
    # four steps, a validation after each, and one before the first
    prices = [4 * cost(BASE.model_copy(update={"rank": r})).per_step.executed for r in (2, 10)]
    assert stage.flops_at_most.executed == sum(prices) + 2 * 5 * 100_000
    assert stage.trial_at_most.executed == prices[1] + 5 * 100_000
    assert plan.flops_at_most == stage.flops_at_most


def test_later_stages_are_priced_at_their_dearest():
    plan = plan_of(preset="coursework", max_steps=30)
    dearest = cost(BASE.model_copy(update={"rank": 8, "seq_len": 768})).per_step.executed
    assert plan.stages[1].trial_at_most.executed == 30 * dearest + 5 * 100_000
    assert plan.stages[1].flops_at_most.executed == 3 * plan.stages[1].trial_at_most.executed


@given(
    limit=st.integers(20_000_000, 10**15),
    preset=st.sampled_from(["quick", "coursework"]),
    every=st.none() | st.integers(1, 50),
)
def test_the_whole_fits_into_any_limit(limit, preset, every):
    chosen = SweepSettings(preset=preset, max_flops=limit)
    base = BASE.model_copy(update={"validate_every": every})
    plan = make_plan(stages_of(chosen, None), chosen, base, {"executed": limit}, cost)
    assert plan.flops_at_most.executed <= limit
    for stage in plan.stages:
        assert 1 <= stage.steps[0] <= stage.steps[1]
        series = plan.validation_series
        for rank, seq_len in ((2, 128), (8, 768)):
            trial = base.model_copy(
                update={"rank": rank, "seq_len": seq_len, "validation_series": series}
            )
            one = replace(cost(trial), times=plan.validations or 4)
            n_steps = stage.steps_of(trial, one)
            assert one.of_run(trial, n_steps).executed <= stage.caps["executed"]
            one_more = one.of_run(trial, n_steps + 4).executed
            assert one_more > stage.caps["executed"]  # nothing much is left unused


def test_trials_of_a_stage_get_the_same_flops_and_short_contexts_more_steps():
    plan = plan_of({"executed": 10**12}, preset="coursework", max_flops=10**12)
    context = plan.stages[1]
    short, long = (
        context.steps_of(t, cost(t))
        for t in (BASE.model_copy(update={"seq_len": n}) for n in (128, 768))
    )
    assert short > 3 * long
    assert context.caps["executed"] == 10**12 * 95 // 100 * 20 // 300


def test_a_tight_limit_buys_training_not_validations():
    """Of what a trial of the search gets, a quarter at most, as long as less will do."""
    result = {}
    for limit in (10**10, 3 * 10**7, 10**7, 5 * 10**6):
        plan = plan_of({"executed": limit}, preset="coursework", max_flops=limit)
        cap = plan.stages[0].caps["executed"]
        series, times = result[limit] = plan.validation_series, plan.validations
        assert (1 + times) * 6_250 * series / cap <= 0.25 or (series, times) == (4, 1)
    assert result == {10**10: (16, 4), 3 * 10**7: (12, 4), 10**7: (4, 4), 5 * 10**6: (4, 1)}


def test_validations_are_as_told_or_as_patience_needs_them():
    limits = {"executed": 5 * 10**6}
    messages = SweepSettings(max_flops=5 * 10**6, validation_series=3)
    base = BASE.model_copy(update={"validation_series": 3})
    plan = make_plan(stages_of(messages, None), messages, base, limits, cost)
    assert (plan.validation_series, plan.validations) == (3, 4)
    tighter = make_plan(stages_of(messages, None), messages, base, {"executed": 2 * 10**6}, cost)
    assert (tighter.validation_series, tighter.validations) == (3, 3)
    # who looks at a trial in between wants something to see
    watched = plan_of(limits, max_flops=5 * 10**6, patience=1)
    assert (watched.validation_series, watched.validations) == (6, 4)
    without = plan_of(max_steps=3)
    assert (without.validation_series, without.validations) == (16, 4)


@pytest.mark.parametrize(("every", "series"), [(1, 4), (10, 15), (1000, 16)])
def test_how_often_may_be_told(every, series):
    limit = 3 * 10**7
    chosen = SweepSettings(preset="coursework", max_flops=limit, validate_every=every)
    base = BASE.model_copy(update={"validate_every": every})
    plan = make_plan(stages_of(chosen, None), chosen, base, {"executed": limit}, cost)
    assert plan.validation_series == series


def test_few_series_are_not_taken_for_sixteen():
    """Where there are only four, validating eight costs what sixteen do."""

    def few(trial: TrainSettings) -> Cost:
        there = min(4, trial.validation_series or 16)
        return replace(cost(trial.model_copy(update={"validation_series": there})), series=there)

    limit = 5 * 10**6
    chosen = SweepSettings(preset="coursework", max_flops=limit)
    plan = make_plan(stages_of(chosen, None), chosen, BASE, {"executed": limit}, few)
    cap = plan.stages[0].caps["executed"]
    assert (1 + plan.validations) * 4 * 6_250 <= 0.25 * cap
    assert plan.validations == 1


@pytest.mark.parametrize("decimals", [(1, 6), (6, 1)])
def test_the_dearest_trial_decides(decimals):
    own = Space({"decimals": (decimals)})
    plan = plan_of({"executed": 2 * 10**7}, own, max_flops=2 * 10**7)
    assert (plan.validation_series, plan.validations) == (16, 4)
    plan = plan_of({"executed": 2 * 10**6}, own, max_flops=2 * 10**6)
    assert (plan.validation_series, plan.validations) == (4, 2)


def test_both_limits_hold_at_once():
    limits = {"executed": 10**10, "coursework": 10**9}
    plan = plan_of(limits, max_flops=10**10)
    assert plan.flops_at_most.executed <= 10**10
    assert plan.flops_at_most.coursework <= 10**9


def test_what_does_not_fit_is_refused_with_the_numbers():
    with pytest.raises(BudgetError, match=r"the sweep may cost .* 1,000,000 may be spent"):
        plan_of({"executed": 10**6}, max_flops=10**6, max_steps=50)
    with pytest.raises(BudgetError, match=r"stage search: each of its trials gets .* FLOPs"):
        plan_of({"executed": 10**5}, max_flops=10**5)


def test_a_recorded_budget_limits_but_gives_no_steps():
    plan = plan_of({"coursework": 10**15})
    assert plan.stages[0].trial_steps == 200
    with pytest.raises(BudgetError):
        plan_of({"coursework": 10**6})


def test_part_of_a_grid_is_drawn_by_seed():
    space = Space({"rank": (tuple(range(1, 21)))})
    one, again, other = (
        stages_of(SweepSettings(trials=5, seed=seed), space)[0].points for seed in (0, 0, 1)
    )
    assert one == again != other
    assert len(one) == 5
    assert sorted(p["rank"] for p in one) == [p["rank"] for p in one]


def test_ranges_are_sampled_and_the_coursework_is_not():
    ranged = Space({"learning_rate": Range(1e-5, 1e-3, log=True)})
    (stage,) = stages_of(SweepSettings(), ranged)
    assert (stage.points, stage.trials) == (None, 12)
    with pytest.raises(SettingsError, match="learning_rate has no end"):
        stages_of(SweepSettings(sampler="grid"), ranged)
    with pytest.raises(SettingsError, match="fixed grid"):
        stages_of(SweepSettings(preset="coursework", sampler="tpe"), None)


def test_a_plan_is_the_same_when_read_back():
    plan = plan_of({"executed": 10**20}, preset="coursework", max_flops=10**20)
    again = SearchPlan.model_validate_json(plan.model_dump_json())
    assert again == plan
    assert again.flops_at_most != NOTHING
