"""Records of evaluations: those of 0.1.0 open, damaged ones are refused by name."""

import json
import random
from pathlib import Path
from typing import Annotated, Any

import pytest

from lvlora.answers import Number
from lvlora.data.metrics.measures import Metric
from lvlora.errors import DataError
from lvlora.evaluation.answers import EvaluationRecord, ForecasterScores
from lvlora.evaluation.document import rebuild
from lvlora.runs import EVALUATION

RECORDS = Path(__file__).parent / "records"
VERSIONS = sorted(path.name for path in RECORDS.iterdir())


@pytest.fixture
def kept(tmp_path: Path) -> Path:
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


def test_a_metric_that_is_added_leaves_older_records_readable(kept, monkeypatch):
    class WithAnother(ForecasterScores):
        another: Annotated[Number, Metric("another", "another metric")]

    class Record(EvaluationRecord):
        forecasters: list[WithAnother]  # type: ignore[assignment]

    monkeypatch.setattr("lvlora.evaluation.document.EvaluationRecord", Record)
    assert all(row.another is None for row in Record.read(kept).forecasters)
    assert rebuild(kept).forecasters == json.loads(
        json.dumps({row.name: row.mae for row in EvaluationRecord.read(kept).forecasters})
    )


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inner = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


WRONG = [None, True, "x", -1, 1e308, 10**300, 0, [], {}, [[]], "\x1b[31m", "9" * 5000]


def test_damaged_records_are_refused_by_name(kept: Path) -> None:
    """A page comes of it, or a sentence that names the file: never anything unforeseen."""
    text = (kept / EVALUATION).read_text()
    random.seed(0)
    every, refusals = places(json.loads(text))[1:], []
    shallow = [path for path in every if len(path) < 4]
    for path in random.sample(every, 20) + random.sample(shallow, 40):
        content = json.loads(text)
        target = content
        for key in path[:-1]:
            target = target[key]
        if random.random() < 0.3:
            del target[path[-1]]
        else:
            target[path[-1]] = random.choice(WRONG)
        (kept / EVALUATION).write_text(json.dumps(content))
        try:
            rebuild(kept)
        except DataError as error:
            refusals.append(str(error))
    assert all(EVALUATION in refusal for refusal in refusals)
    assert len(refusals) > 20


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"forecasters": [{"name": 1}]}', "NaN"])
def test_what_is_no_record_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / EVALUATION).write_text(content)
    with pytest.raises(DataError, match=r"evaluation\.json"):
        EvaluationRecord.read(tmp_path)
