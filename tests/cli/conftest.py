import pytest

from lvlora.evaluation import scores
from lvlora.forecast import rivals
from lvlora.forecast.rivals import default_rivals, quick_rivals


@pytest.fixture(autouse=True, scope="module")
def _few(few_rivals: None) -> None:
    pass


@pytest.fixture
def every_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that is about the rivals."""
    monkeypatch.setattr(scores, "default_rivals", default_rivals)
    monkeypatch.setattr(rivals, "quick_rivals", quick_rivals)
