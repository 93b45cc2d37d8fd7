"""Records of evaluations: those of 0.1.0 open, damaged ones are refused by name."""

import json
from pathlib import Path

import pytest

from lvlora.errors import DataError
from lvlora.evaluation.answers import Evaluation
from lvlora.evaluation.document import rebuild
from lvlora.runs import EVALUATION

RECORDS = Path(__file__).parent / "records"
VERSIONS = sorted(path.name for path in RECORDS.iterdir())


@pytest.fixture
def record_file(tmp_path: Path) -> Path:
    """A folder with a record of 0.1.0."""
    text = (RECORDS / "0.1.0" / "evaluation" / EVALUATION).read_text()
    (tmp_path / EVALUATION).write_text(text)
    return tmp_path


@pytest.mark.parametrize("version", VERSIONS)
def test_records_of_every_version_have_a_page(version, run_lvlora, tmp_path, made_figures) -> None:
    for name in ("evaluation", "run"):
        folder = tmp_path / name
        folder.mkdir()
        for file in (RECORDS / version / name).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        ran = run_lvlora(["report", folder, "--json"], code=0)
        assert (folder / "report.html").stat().st_size > 8_000
        assert ran.json["files"]


def test_records_with_windows_that_overlap_open(record_file: Path) -> None:
    """Windows of earlier versions could have another distance than the horizon."""
    content = json.loads((record_file / EVALUATION).read_text())
    content["protocol"] |= {"windows": 3, "stride": 2, "all_before": True}
    (record_file / EVALUATION).write_text(json.dumps(content))
    assert rebuild(record_file).protocol.stride == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [("forecasters", []), ("protocol", None), ("led_by", "x"), ("variables", [1]), ("scale", 1)],
)
def test_damaged_records_are_refused_by_name(record_file: Path, key: str, value: object) -> None:
    content = json.loads((record_file / EVALUATION).read_text())
    (record_file / EVALUATION).write_text(json.dumps({**content, key: value}))
    with pytest.raises(DataError, match=rf"evaluation\.json.*{key}"):
        rebuild(record_file)


@pytest.mark.parametrize(
    "changes",
    [
        {"variables": ["a", "b", "c", "d"]},
        {"per_variable": {"mae": [1.0]}},
        {"mae_by_step": [[1.0, 2.0], [1.0]]},
    ],
)
def test_numbers_that_do_not_fit_together_are_refused(record_file: Path, changes: dict) -> None:
    content = json.loads((record_file / EVALUATION).read_text())
    for row in content["forecasters"]:
        row.update({key: value for key, value in changes.items() if key in row})
    content.update({key: value for key, value in changes.items() if key in content})
    (record_file / EVALUATION).write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"evaluation\.json.*fit together"):
        rebuild(record_file)
    assert not (record_file / "report.html").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"forecasters": [{"name": 1}]}', "NaN"])
def test_what_is_no_record_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / EVALUATION).write_text(content)
    with pytest.raises(DataError, match=r"evaluation\.json"):
        Evaluation.read(tmp_path)
