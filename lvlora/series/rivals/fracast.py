"""Fracast-0, a pretrained forecaster of 85,001 parameters, if it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from lvlora.series.dataset import Dataset, FloatArray
from lvlora.series.gaps import complete
from lvlora.series.rivals.contract import Prediction, Untrained, guarded, missing_package
from lvlora.series.rivals.parts.bootstrap import stream
from lvlora.series.rivals.parts.standardising import standardised

_FEWEST = 8  # observations that it asks for


class Fracast(Untrained):
    """https://github.com/ztxtech/fracast-0 (Apache-2.0): a convolutional foundation model.

    Its weights come with its wheel, so nothing is downloaded. Each variable by itself, as it
    stands: the model has seen neither logarithms nor several variables. The forecast is its
    median; futures are drawn from its nine quantiles with the same rank at every step.
    """

    name = "fracast-0"

    def __init__(self) -> None:
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """For another process: it opens the model by itself."""
        return {"_model": None}

    def refusal(self, dataset: Dataset) -> str:
        """See `Rival.refusal`: the package is not installed."""
        return missing_package("fracast")

    def forecast(self, time: FloatArray, history: FloatArray) -> FloatArray:
        """See `Rival.forecast`."""
        return self.predict(time, history).point

    def predict(
        self,
        time: FloatArray,
        history: FloatArray,
        n_samples: int = 0,
        name: str = "",
        known: FloatArray | None = None,
    ) -> Prediction:
        """See `Rival.predict`; the futures are those of its quantiles."""
        filled = complete(time, history)
        given = standardised(time, history, logs=False)
        problem = given.problem
        if problem.n_known < _FEWEST:
            point = np.repeat(filled[-1:], len(time) - len(history), axis=0)
            return Prediction(
                point, np.repeat(point[None], n_samples, axis=0) if n_samples else None
            )
        if self._model is None:
            from fracast import FracastModel

            self._model = FracastModel.from_pretrained(weights="fp32")
        # (V, H, Q)
        quantiles = np.sort(self._model.forecast(problem.values.T, horizon=problem.n_ahead), axis=2)
        levels = np.asarray(self._model.quantiles)
        ranks = stream(name).random((n_samples, len(quantiles)))
        paths = np.empty((1 + n_samples, problem.n_ahead, len(quantiles)))
        for v, of_variable in enumerate(quantiles.astype(np.float64)):
            for i, rank in enumerate([0.5, *ranks[:, v]]):
                paths[i, :, v] = [np.interp(rank, levels, at) for at in of_variable]
        found = guarded(given.back(paths), filled)
        return Prediction(found[0], found[1:] if n_samples else None)
