"""An echo state network: a fixed random recurrent network of which only the output is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.parts.algebra import product, ridge
from lvlora.forecast.rivals.parts.choosing import ChosenOnHistory
from lvlora.forecast.rivals.parts.standardising import Problem, smoothed

N_UNITS = 60
_CONNECTED = 0.1
_SEED = 20010113  # the date of Jaeger's report: any will do, but it must be one
_RADII = (0.3, 0.9)
_INPUTS = (0.1, 0.5)
_LEAKS = (0.5, 1.0)
_RIDGES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2)
_WASHED_OUT = 0.1  # share of a history in which the state forgets its beginning
_FAR = 10.0


@dataclass(frozen=True)
class Setting:
    """A reservoir and its readout.

    Attributes:
        smooth: driven by the smoothed history.
        radius: spectral radius; scale: of the input weights; leak: share of a state that is new.
        ridge: penalty of the readout.
    """

    smooth: bool
    radius: float
    scale: float
    leak: float
    ridge: float


class EchoState(ChosenOnHistory):
    """Jaeger (2001), "The echo state approach", GMD report 148; with leaky units (Jaeger,
    Lukoševičius, Popovici & Siewert 2007, doi:10.1016/j.neunet.2007.04.016).

    r(t) = (1 - a) r(t - 1) + a tanh(W r(t - 1) + V x(t)) with fixed random W and V; the change of
    all variables is a ridge regression on r(t), x(t) and a constant, which then drives the network
    itself. Spectral radius, input scale, leak, penalty and smoothing are chosen on the history; on
    logarithms of what is positive.
    """

    name = "echo state network"

    def settings(self, n_known: int, n_variables: int, n_inputs: int = 0) -> list[Setting]:
        if n_known < 6:
            return []
        return [
            Setting(smooth, radius, scale, leak, penalty)
            for smooth in (False, True)
            for radius in _RADII
            for scale in _INPUTS
            for leak in _LEAKS
            for penalty in _RIDGES
        ]

    def continued(self, problem: Problem, settings: Sequence[Setting]) -> FloatArray:
        n_known, n_variables = problem.values.shape
        recurrent, inward = weights(n_variables)
        plain = problem.values
        smooth = smoothed(problem.time[:n_known], plain)
        networks = list(dict.fromkeys((s.smooth, s.radius, s.scale, s.leak) for s in settings))
        place = [networks.index((s.smooth, s.radius, s.scale, s.leak)) for s in settings]
        inner = np.stack([radius * recurrent for _, radius, _, _ in networks])
        outer = np.stack([scale * inward for _, _, scale, _ in networks])
        leak = np.array([leak for *_, leak in networks])[:, None]
        driving = np.stack([smooth if smoothing else plain for smoothing, *_ in networks])

        def moved(state: FloatArray, x: FloatArray, which: Sequence[int] | slice) -> FloatArray:
            drive = product(state[:, None, :], inner[which]) + product(x[:, None, :], outer[which])
            share = leak[which]
            return np.asarray((1 - share) * state + share * np.tanh(drive[:, 0]))

        state = np.zeros((len(networks), N_UNITS))
        states = np.empty((n_known, *state.shape))
        for t in range(n_known):
            state = states[t] = moved(state, driving[:, t], slice(None))
        readout = np.empty((len(settings), 1 + N_UNITS + n_variables, n_variables))
        first = int(_WASHED_OUT * n_known)
        for at in set(place):
            which = [i for i, p in enumerate(place) if p == at]
            x = driving[at]
            features = np.hstack([np.ones((n_known, 1)), x, states[:, at]])[first:-1]
            penalties = np.array([settings[i].ridge for i in which])
            readout[which] = ridge(features, np.diff(x, axis=0)[first:], penalties)
        state, x = state[place], driving[place, -1]
        ahead = np.empty((len(settings), problem.n_ahead, n_variables))
        for h in range(problem.n_ahead):
            features = np.hstack([np.ones((len(x), 1)), x, state])
            x = np.clip(x + product(features[:, None, :], readout)[:, 0], -_FAR, _FAR)
            ahead[:, h] = x
            state = moved(state, x, place)
        return ahead


@lru_cache(16)
def weights(n_variables: int) -> tuple[FloatArray, FloatArray]:
    """(N, N) sparse recurrent weights of spectral radius 1, and (V, N) input weights in -1 … 1."""
    rng = np.random.default_rng(_SEED)
    recurrent = rng.uniform(-1, 1, (N_UNITS, N_UNITS)) * (
        rng.random((N_UNITS, N_UNITS)) < _CONNECTED
    )
    recurrent /= np.abs(np.linalg.eigvals(recurrent)).max()
    return recurrent, rng.uniform(-1, 1, (n_variables, N_UNITS))
