"""Runs have the naive rivals beside them: the others would take longer than the training."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _few(request: pytest.FixtureRequest) -> None:
    if request.path.stem != "test_validation":  # its subject is what stands beside a model
        request.getfixturevalue("few_rivals")
