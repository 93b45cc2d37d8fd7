"""Rows of an evaluation, as tests make them."""

from lvlora.evaluation.scores import Entry, Scoring
from lvlora.forecast.rivals.contract import GREEDY
from lvlora.forecast.sampling import Sampling


def score_model(model, task, sampling, levels, pieces=None, progress=None) -> Entry:
    return Scoring(model, task, sampling, pieces).run(levels, progress)


def score_rival(rival, task, train, levels, pieces=None, progress=None, n_samples=0) -> Entry:
    rival.learns_from = task.learnable(train)
    sampling = Sampling(samples=n_samples) if n_samples else GREEDY
    return Scoring(rival, task, sampling, pieces).run(levels, progress)
