"""The published shapes of --json.

Every test that reads an answer (`Ran.json`) checks it against its model; here is the rest.
"""

import json
import subprocess
import sys
from pathlib import Path

import programs
import pytest
from make_schemas import ANSWERS, answer_name

from lvlora.cli.program.root import COMMANDS

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_script_writes_the_schemas_of_all_answers_and_only_those(tmp_path):
    (tmp_path / "old.json").write_text("{}")
    script = ROOT / "scripts" / "make_schemas.py"  # in a process whose models nobody has used
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, cwd=ROOT)
    schemas = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()
    }
    assert set(schemas) == set(ANSWERS)
    train = schemas["train"]
    assert "planned_steps" in train["required"]
    assert train["properties"]["planned_steps"]["type"] == "integer"
    assert train["properties"]["stopped_early"]["description"] == "By --patience."


def test_every_command_has_an_answer_and_every_answer_a_command():
    assert set(COMMANDS) <= set(ANSWERS)
    assert {name.partition("-")[0] for name in ANSWERS} == set(COMMANDS)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("flops --rank 4", "flops"),
        ("flops --ledger --measure", "flops-ledger"),
        ("flops --vary=rank=2,4", "flops-vary"),
        ("forecast x.csv --greedy --dry-run", "forecast-dry-run"),
        ("report", "report"),
    ],
)
def test_the_options_tell_which_answer_it_is(line, name):
    command, *options = line.split()
    assert answer_name(command, options) == name


def test_only_its_keys_tell_the_report_of_an_evaluation():
    assert answer_name("report", [], ["evaluation"]) == "report-evaluation"


def test_an_answer_with_an_unknown_key_or_a_wrong_type_is_refused():
    answer = {"schema_version": 1, "lvlora": "0", "healthy": True, "checks": []}
    doctor = ANSWERS["doctor"]
    assert doctor.model_validate_json(json.dumps(answer))
    for wrong in ({"new": 1}, {"healthy": "yes"}, {"schema_version": 2}):
        with pytest.raises(ValueError, match="validation error"):
            doctor.model_validate_json(json.dumps(answer | wrong))


def test_a_published_schema_lets_later_versions_add_keys():
    assert (
        "additionalProperties"
        not in programs.load("scripts/make_schemas.py").files()["doctor.json"]
    )


def test_reading_the_shapes_needs_pydantic_alone():
    rooms = "lvlora.train.record, lvlora.evaluation.answers, lvlora.data.answers"
    code = f"import sys, {rooms}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = set(done.stdout.split())
    assert "pydantic" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "numpy", "typer", "rich"})
