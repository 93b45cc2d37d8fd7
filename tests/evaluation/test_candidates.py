"""Which models are scored, and what their training had cost."""

from types import SimpleNamespace

from lvlora.answers import Price
from lvlora.evaluation.job import Candidate


def priced(facts):
    """What an adapter that says this is taken to have cost."""
    info = SimpleNamespace(facts=facts)
    return Candidate(SimpleNamespace(info=info), None).training_price


def test_models_are_different_by_what_they_read() -> None:
    choice = SimpleNamespace(
        info=None, source=SimpleNamespace(kind="folder", location="x", revision=None)
    )
    assert Candidate(choice, None).key == Candidate(choice, 2).key != Candidate(choice, 0).key


def test_a_training_whose_price_is_no_count_has_no_known_price() -> None:
    facts = {"decimals": 2, "flops": {"executed": 5, "coursework": 7}}
    assert priced(facts) == Price(5, 7)
    counts = (True, -1, 1.5, "9", None)
    for odd in (None, 3, {}, {"executed": 5}, *({"executed": n, "coursework": 1} for n in counts)):
        assert priced({**facts, "flops": odd}) is None
