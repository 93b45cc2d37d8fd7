"""What a setting affects stands on its field; what identifies runs and studies derives from it."""

from typing import get_args

import pytest

from lvlora.cli.program.root import load_all
from lvlora.evaluation.settings import EvaluateSettings
from lvlora.forecast.settings import ForecastSettings
from lvlora.settings.base import Affects, Settings, option
from lvlora.sweep.settings import SweepSettings
from lvlora.train.plan import deciding_settings
from lvlora.train.settings import TrainSettings

load_all()


def _below(model: type[Settings]) -> set[type[Settings]]:
    return {model}.union(*map(_below, model.__subclasses__()))


MODELS = sorted(
    (model for model in _below(Settings) - {Settings} if model.__module__.startswith("lvlora.")),
    key=lambda model: model.__name__,
)
INPUT = {"data", "id_column", "time_column", "date_format", "columns", "known"}
LATER = {"scheduler"}
"""Settings that came when identities already derived from their fields, and change no number."""


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_affects_exactly_one_thing(model: type[Settings]) -> None:
    parts = [model.affecting(kind) for kind in get_args(Affects)]
    assert sum(map(len, parts)) == len(model.model_fields)
    assert frozenset().union(*parts) == set(model.model_fields)


def test_a_field_that_does_not_say_it_is_no_field() -> None:
    with pytest.raises(TypeError, match="affects"):
        option(1, "A number.", "Data")  # type: ignore[call-arg]


def test_a_run_is_identified_by_what_it_always_was() -> None:
    """Runs of earlier versions go on."""
    undeciding = {
        *("out", "runs", "resume", "budget", "save_every", "threads", "compile"),
        *("max_memory", "tracker", "model", "revision", "device", "dtype", *INPUT),
    }
    assert (
        set(deciding_settings(TrainSettings()))
        == set(TrainSettings.model_fields) - undeciding - LATER
    )


def test_a_study_compares_what_it_always_did() -> None:
    """Studies of earlier versions go on; how much memory is taken is no longer compared."""
    from lvlora.sweep.study import compared

    free = {
        *("data", "runs", "study", "status", "threads", "budget"),
        *("max_flops", "save_every", "preset", "space", "tracker", "max_memory"),
    }
    assert (
        set(compared(SweepSettings().model_dump()))
        == set(SweepSettings.model_fields) - free - LATER
    )


def test_a_charge_is_identified_by_what_is_asked_for_not_by_what_it_takes() -> None:
    free = {
        *("runs", "output", "samples_out", "plot", "out", "overwrite", "fresh", "max_memory"),
        *("workers", "threads", "budget", "max_flops", "convention"),
    }
    for model in (ForecastSettings, EvaluateSettings):
        request = model.affecting("result", "data", "model", "placement")
        assert request == set(model.model_fields) - free - LATER


def test_values_are_told_as_json() -> None:
    inputs = TrainSettings(runs="elsewhere", targets="q_proj,v_proj", device="cpu")
    assert inputs.deciding("placement") == {"dtype": "auto", "device": "cpu", "compile": "auto"}
    assert inputs.deciding("project", "placement")["runs"] == "elsewhere"
    assert inputs.deciding("result")["targets"] == ["q_proj", "v_proj"]
