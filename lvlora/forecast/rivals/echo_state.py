"""An echo state network: a fixed random recurrent network of which only the output is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product as combinations
from typing import NamedTuple

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.forecast.rivals.algebra import product, ridge
from lvlora.forecast.rivals.contract import ChosenOnHistory, grouped
from lvlora.forecast.rivals.standardising import Problem

N_UNITS = 60
_CONNECTED = 0.1
_SEED = 20010113  # the date of Jaeger's report: any will do, but it must be one
_RADII = (0.3, 0.9)
_INPUTS = (0.1, 0.5)
_LEAKS = (0.5, 1.0)
_RIDGES = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2)
_WASHED_OUT = 0.1  # share of a history in which the state forgets its beginning
_FAR = 10.0


class Setting(NamedTuple):
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
    itself. Spectral radius, input scale, leak, penalty and smoothing are chosen.
    """

    name = "echo state network"

    def settings(self, n_known: int, n_variables: int, n_inputs: int = 0) -> list[Setting]:
        if n_known < 6:
            return []
        each = combinations((False, True), _RADII, _INPUTS, _LEAKS, _RIDGES)
        return [Setting(*values) for values in each]

    def continued(self, problem: Problem, settings: Sequence[Setting]) -> FloatArray:
        n_known, n_variables = problem.values.shape
        recurrent, inward = weights(n_variables)
        smooth = problem.smoothed()
        networks = grouped(settings, lambda setting: setting[:-1])
        firsts = [settings[which[0]] for which in networks.values()]
        inner = np.stack([s.radius * recurrent for s in firsts])
        outer = np.stack([s.scale * inward for s in firsts])
        leak = np.array([s.leak for s in firsts])[:, None]
        driving = np.stack([smooth if s.smooth else problem.values for s in firsts])

        def moved(state: FloatArray, x: FloatArray, at: Sequence[int] | slice) -> FloatArray:
            drive = product(state[:, None, :], inner[at]) + product(x[:, None, :], outer[at])
            return np.asarray((1 - leak[at]) * state + leak[at] * np.tanh(drive[:, 0]))

        state = np.zeros((len(networks), N_UNITS))
        states = np.empty((n_known, *state.shape))
        for t in range(n_known):
            state = states[t] = moved(state, driving[:, t], slice(None))
        readout = np.empty((len(settings), 1 + N_UNITS + n_variables, n_variables))
        place = [0] * len(settings)
        first = int(_WASHED_OUT * n_known)
        for at, which in enumerate(networks.values()):
            x = driving[at]
            features = np.hstack([np.ones((n_known, 1)), x, states[:, at]])[first:-1]
            penalties = np.array([settings[i].ridge for i in which])
            readout[which] = ridge(features, np.diff(x, axis=0)[first:], penalties)
            for i in which:
                place[i] = at
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
    recurrent = rng.uniform(-1, 1, (N_UNITS, N_UNITS))
    recurrent *= rng.random((N_UNITS, N_UNITS)) < _CONNECTED
    recurrent /= np.abs(np.linalg.eigvals(recurrent)).max()
    return recurrent, rng.uniform(-1, 1, (n_variables, N_UNITS))
