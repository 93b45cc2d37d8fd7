"""The annotated settings in examples/ are such that the commands take them."""

import tomllib
from pathlib import Path

import pytest

from lvlora.cli.program.from_settings import COMMANDS
from lvlora.cli.program.root import load_all

EXAMPLES = Path(__file__).parents[2] / "examples"
PRESETS = sorted(path for path in EXAMPLES.glob("*.toml") if path.name != "space.toml")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_command_takes_what_is_meant_for_it(run_lvlora, preset):
    document = tomllib.loads(preset.read_text(encoding="utf-8"))
    for table in ("stages", "scales"):  # the experiment's own, see the next tests
        document.pop(table, None)
    shared = {key: value for key, value in document.items() if not isinstance(value, dict)}
    tables = {key: value for key, value in document.items() if isinstance(value, dict)}
    assert shared
    assert tables
    load_all()
    for command, table in tables.items():
        ran = run_lvlora([command, "--config", preset, "--print-config"], code=0)
        printed = tomllib.loads(ran.stdout)
        meant = {k: v for k, v in shared.items() if k in COMMANDS[command].model_fields} | table
        assert {key: _plain(printed[key]) for key in meant} == {
            key: _plain(value) for key, value in meant.items()
        }


def _plain(value: object) -> object:
    """32 is 32.0, "1e17" is 10**17 and "8GiB" so many bytes."""
    if isinstance(value, str) and value.endswith("GiB"):
        return int(value.removesuffix("GiB")) * 2**30
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


@pytest.mark.slow
@pytest.mark.parametrize("scale", [None, "small", "tiny"])
def test_the_coursework_can_be_planned(run_lvlora, tmp_path, scale):
    ran = run_lvlora(
        [
            *("experiment", EXAMPLES / "simulated.h5"),
            *("--config", EXAMPLES / "coursework.toml", "--model", "bundled", "--threads", "1"),
            *("--out", tmp_path / "coursework", "--dry-run", "--json"),
            *(() if scale is None else ("--scale", scale)),
        ],
        code=0,
    )
    plan = ran.json
    assert [stage["name"] for stage in plan["stages"]] == [
        *("zero-shot", "default", "search", "ours", "contexts", "validation", "test")
    ]
    assert "13 trials (9 search, 3 context, 1 final)" in plan["stages"][2]["what"]
    assert plan["flops_at_most"]["coursework"] <= plan["budget"] == 10**17
    if scale == "small":
        assert plan["flops_at_most"]["executed"] <= 5e15
    assert not (tmp_path / "coursework").exists()
