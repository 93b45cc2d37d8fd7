"""A rival from another package, found by its entry point, as docs/howto/forecaster.md shows it."""

import re
from pathlib import Path

import numpy as np
import pytest

from lvlora.errors import SettingsError
from lvlora.forecast.rivals import GROUP, default_rivals

HOW_TO = Path(__file__).parents[3] / "docs" / "howto" / "forecaster.md"


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, target: str) -> None:
    """Put a package with one entry point on the path, as pip would leave it there."""
    facts = folder / "my_package-1.0.dist-info"
    facts.mkdir(parents=True)
    (folder / "my_package.py").write_text(code)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{GROUP}]\ndrift = {target}\n")
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def how_to() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL)
    return str(code)


def test_the_how_to_adds_a_forecaster(run_lvlora, tmp_path, monkeypatch, how_to):
    monkeypatch.chdir(tmp_path)
    install(tmp_path / "site", monkeypatch, how_to, "my_package:Drift")
    assert default_rivals()[-1].name == "drift"
    rows = "".join(f"{t},{2.0 * t + 1}\n" for t in range(20))
    Path("line.csv").write_text(f"time,x\n{rows}")
    run_lvlora(
        ["forecast", "line.csv", "--holdout", "5", "--forecaster", "drift", "--output", "out.csv"],
        code=0,
    )
    table = np.genfromtxt("out.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    # the guard of all rivals allows one range of the history more, which is far enough here
    np.testing.assert_allclose(table["median"], [31, 33, 35, 37, 39])


@pytest.mark.parametrize("target", ["my_package:Absent", "no_such_module:Drift"])
def test_a_package_that_makes_none_is_named(tmp_path, monkeypatch, how_to, target):
    install(tmp_path / "site", monkeypatch, how_to, target)
    with pytest.raises(SettingsError, match=re.escape(target)):
        default_rivals()
