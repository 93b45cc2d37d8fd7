"""The naive rivals stand for all, and are quick, but for tests that are about the rivals."""

from collections.abc import Iterator

import pytest

from lvlora.evaluation import scores
from lvlora.forecast.rivals import default_rivals, naive_rivals


@pytest.fixture(autouse=True, scope="module")
def few_rivals() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scores, "default_rivals", naive_rivals)
        yield


@pytest.fixture
def every_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that is about the rivals."""
    monkeypatch.setattr(scores, "default_rivals", default_rivals)
