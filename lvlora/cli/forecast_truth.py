"""What --holdout knows: the truth that was set aside, and how near the forecast came to it.

Knows: cutting, scores, what to say of them. Does not know: how forecasts are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lvlora import numbers
from lvlora.errors import DataError

if TYPE_CHECKING:
    from lvlora.forecast.forecast import Forecast
    from lvlora.series.dataset import Dataset, FloatArray, Series

_METRICS = {
    "mae": "MAE",
    "mse": "MSE",
    "rmse": "RMSE",
    "smape": "sMAPE",
    "mase": "MASE",
    "crps": "CRPS",
}


@dataclass
class Truth:
    """The futures of a file's series.

    Attributes:
        futures: a series of H steps each.
        nll: (H, V) negative log-likelihood of each value; scores: as the command's JSON has them.
    """

    futures: list[Series]
    nll: list[FloatArray] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> list[Mapping[str, FloatArray]]:
        """Further columns of the table: ``truth`` and ``nll``."""
        return [{"truth": f.values, "nll": n} for f, n in zip(self.futures, self.nll, strict=True)]

    def as_json(self, which: int, variables: Sequence[str]) -> dict[str, Any]:
        """What the command's JSON adds to a series."""
        return {
            key: {name: values[:, v].tolist() for v, name in enumerate(variables)}
            for key, values in self.columns[which].items()
        }

    def score(
        self, dataset: Dataset, forecasts: Sequence[Forecast], quantiles: Sequence[float]
    ) -> None:
        """Set the scores, and those of rivals that cost nothing; `nll` must be there."""
        import numpy as np

        from lvlora.forecast.calibration import share_inside
        from lvlora.forecast.likelihood import Score
        from lvlora.series.rivals import naive_rivals

        samples = np.stack([f.samples for f in forecasts])
        found = self._scores(
            dataset,
            np.stack([f.median for f in forecasts]),
            samples=samples if samples.shape[1] > 1 else None,
            quantiles=quantiles,
        )
        pairs = _pairs(quantiles) if samples.shape[1] > 1 else {}
        likelihood = Score.of(self.nll)
        values = np.stack([f.values for f in self.futures])
        rivals = [
            (
                rival.name,
                np.stack(
                    [
                        rival.forecast(np.concatenate([h.time, f.time]), h.values)
                        for h, f in zip(dataset, self.futures, strict=True)
                    ]
                ),
            )
            for rival in naive_rivals()
        ]
        self.scores = {
            **found,
            "coverage": {f"{x:g}": share_inside(values, forecasts, e) for x, e in pairs.items()},
            "nll": likelihood.per_dimension,
            "nll_possible": likelihood.possible,
            "nll_impossible": likelihood.n_impossible,
            "n_values": likelihood.n_values,
            "rivals": [{"name": name, **self._scores(dataset, point)} for name, point in rivals],
        }

    def _scores(
        self,
        dataset: Dataset,
        point: FloatArray,
        *,
        samples: FloatArray | None = None,
        quantiles: Sequence[float] = (),
    ) -> dict[str, Any]:
        """What a forecaster is measured by beside the truth."""
        import numpy as np

        from lvlora.series.metrics.scores import score

        found = score(
            np.stack([f.values for f in self.futures]),
            point,
            history=[s.values for s in dataset],
            quantiles=quantiles,
            samples=samples,
        ).to_dict()
        return {name: found[name] for name in _METRICS}

    def table(self, name: str) -> tuple[list[str], list[list[str]]]:
        """Head and rows: the model beside the rivals.

        Args:
            name: of the model.
        """
        entries = [{"name": name, **self.scores}, *self.scores["rivals"]]
        rows = [[e["name"], *(numbers.plain(e[m], 3) for m in _METRICS)] for e in entries]
        return ["forecaster", *_METRICS.values()], rows

    def sentence(self) -> str:
        """The scores for people."""
        found = self.scores
        words = [
            f"MAE {numbers.plain(found['mae'], 3)}",
            f"CRPS {numbers.plain(found['crps'], 3)}",
            f"NLL/D {numbers.plain(found['nll'], 3)} nats",
        ]
        words += [
            f"{100 * float(level):g} % intervals cover {numbers.share(share)}"
            for level, share in found["coverage"].items()
        ]
        said = f"Against the {found['n_values']} values held out: {', '.join(words)}."
        if found["nll_impossible"]:
            said += (
                f" {found['nll_impossible']} of them are beyond the grammar; without them NLL/D "
                f"is {numbers.plain(found['nll_possible'], 3)}."
            )
        return said


def hold_out(dataset: Dataset, n_held: int, n_steps: int) -> tuple[Dataset, Truth]:
    """The series without their last ``n_held`` steps, and the first ``n_steps`` of those.

    Raises:
        DataError: a series is too short, or none of its held-out values is known.
    """
    from dataclasses import replace

    import numpy as np

    from lvlora.series.histories import cut

    for series in dataset:
        if len(series) <= n_held:
            raise DataError(
                f"--holdout {n_held}: series {series.id!r} has {len(series)} steps, which leaves "
                "no history",
                "Hold fewer steps out; --series names the series to take.",
            )
    cuts = [cut(s, len(s) - n_held, n_steps) for s in dataset]
    futures = [c.future for c in cuts]
    if not any(np.isfinite(f.values).any() for f in futures):
        raise DataError(
            f"--holdout {n_held}: every value held out is missing", "Hold other steps out."
        )
    return replace(dataset, series=tuple(c.history for c in cuts)), Truth(futures)


def _pairs(quantiles: Sequence[float]) -> dict[float, tuple[float, float]]:
    """Probability of each central interval -> its two quantiles, as they were written."""
    return {
        round(high - low, 10): (low, high)
        for low in sorted(quantiles)
        for high in quantiles
        if low < 0.5 < high and abs(low + high - 1) < 1e-9
    }
