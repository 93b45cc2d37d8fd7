"""Rivals whose settings are chosen on the history: all forecast its end, the best are refitted."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from lvlora.data.dataset import FloatArray
from lvlora.data.gaps import complete
from lvlora.forecast.rivals.contract import Refitted
from lvlora.forecast.rivals.parts.futures import guarded
from lvlora.forecast.rivals.parts.standardising import Problem, Standardised, standardised

_LOST = 4.0
"""Spreads beyond which an error is no worse."""
_N_BEST = 5


class ChosenOnHistory(Refitted):
    """A method with settings, which are chosen for each series by forecasting its own past.

    The history is standardised (`standardised`). Each setting forecasts the last quarter of the
    history from the rest; its error is the mean absolute one, plus the share of its real forecast
    that leaves the range of the history so far that the guard would cut it: who is right about
    the past and then flies away was right by chance. The median of the five best, refitted to the
    whole history, is the forecast, guarded (`guarded`). A history of too few steps for
    any setting goes on as its last value.

    Attributes:
        on_logs: take logarithms of positive variables; unit: standardise variances as well.
        even: the method takes steps for equal; uneven ones are made so.
        trials: shares of the history from which its rest is forecast.
    """

    max_samples = 400
    on_logs = True
    unit = True
    even = True
    trials: tuple[float, ...] = (0.75,)

    @abstractmethod
    def settings(self, n_known: int, n_variables: int, n_inputs: int = 0) -> Sequence[Any]:
        """Settings that a history of ``n_known`` steps allows, the plainest first.

        Args:
            n_inputs: known columns beside it.
        """

    @abstractmethod
    def continued(self, problem: Problem, settings: Sequence[Any]) -> FloatArray:
        """(C, H, V) the forecast with each of C settings; one that diverges may not be finite."""

    def hindcasts(
        self,
        time: FloatArray,
        history: FloatArray,
        known: FloatArray | None,
        origins: Sequence[int],
    ) -> tuple[FloatArray, list[FloatArray]]:
        """See `Rival.hindcasts`; hindcasts have the settings chosen for the whole history."""
        n_known, inputs = len(history), known if self.uses_known else None

        def prepared(time: FloatArray, n: int) -> Standardised:
            return standardised(
                time,
                history[:n],
                logs=self.on_logs,
                unit=self.unit,
                even=self.even,
                inputs=None if inputs is None else inputs[: len(time)],
            )

        def ahead(scaled: Standardised, n: int, n_ahead: int) -> FloatArray:
            filled = complete(time[: n + n_ahead], history[:n])
            if not chosen:
                return np.repeat(filled[-1:], n_ahead, axis=0)
            levels = scaled.back(self.continued(scaled.problem, chosen))
            return np.asarray(np.median(guarded(levels, filled), axis=0))

        with np.errstate(all="ignore"):
            whole = prepared(time, n_known)
            chosen = self._chosen(whole, complete(time, history))
            point = ahead(whole, n_known, len(time) - n_known)
            past = [ahead(prepared(time[:n_known], n), n, n_known - n) for n in origins]
        return point, past

    def _chosen(self, scaled: Standardised, filled: FloatArray) -> list[Any]:
        """The best settings; none where the history is too short for any."""
        problem = scaled.problem
        n_known, n_variables = problem.values.shape
        cuts = sorted({min(n, n_known - 1) for s in self.trials if (n := int(s * n_known)) >= 2})
        settings = (
            list(self.settings(cuts[0], n_variables, problem.inputs.shape[1])) if cuts else []
        )
        if len(settings) < 2:
            return settings
        spread = problem.values.std(axis=0)
        spread = np.where(spread > 0, spread, 1.0)
        errors = np.zeros(len(settings))
        for n in cuts:
            tried = self.continued(problem.cut(n), settings)
            gaps = np.abs(tried - problem.values[n:]) / spread
            gaps = np.where(np.isnan(gaps), _LOST, np.minimum(gaps, _LOST))
            known = problem.known[n:]
            errors += np.sum(gaps * known, axis=(1, 2)) / max(int(known.sum()), 1)
        levels = scaled.back(self.continued(problem, settings))
        astray = ~np.isclose(guarded(levels, filled), levels, rtol=1e-9, atol=0.0)
        errors += astray.mean(axis=(1, 2))
        order = np.argsort(errors, kind="stable")
        return [settings[i] for i in order[:_N_BEST]]
