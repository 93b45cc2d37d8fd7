"""`lvlora.evaluate`: the verb for programs, with forecasters that are open already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from lvlora.errors import SettingsError, meant
from lvlora.evaluation.answers import Evaluation
from lvlora.evaluation.evaluate import finish, score_rivals
from lvlora.evaluation.job import prepare
from lvlora.evaluation.scores import score_floor, score_model
from lvlora.forecast.forecaster import Forecaster
from lvlora.forecast.plan import DEFAULT_DECIMALS
from lvlora.forecast.sampling import Sampling
from lvlora.narrator import Silent
from lvlora.series.dataset import Dataset
from lvlora.series.disturbance import NO_DISTURBANCE, Disturbance
from lvlora.settings.base import Split
from lvlora.settings.checked import check_count, check_levels, checked
from lvlora.settings.forecasting import LONGEST_HORIZON
from lvlora.settings.scoring import EvaluateSettings
from lvlora.settings.spoken import for_programs


@for_programs()
def evaluate(
    data: Dataset,
    forecasters: Sequence[Forecaster] | Forecaster = (),
    *,
    part: Split = "validation",
    context: int = 50,
    horizon: int = 50,
    limit: int | None = None,
    sampling: Sampling | None = None,
    rivals: bool = True,
    split_seed: int = 0,
    stratify: bool = False,
    quantiles: Sequence[float] = (0.1, 0.5, 0.9),
    seed: int = 0,
    disturbance: Disturbance | None = None,
) -> Evaluation:
    """Forecasters side by side: the same histories, the same truth, the same metrics.

    The answer is what ``lvlora evaluate --json`` prints, and a sequence of entries. Each has
    ``name``, ``kind`` (model, rival or floor), ``scores`` (mae, rmse, crps, coverage, dynamics, …),
    ``point`` (n, H, V), ``samples``, ``against`` (differences with their 95 % intervals), ``skill``
    against seasonal naive and ``win_rate``. What models spend is in their ``usage`` and, inside
    `charged`, in the ledger. Nothing is written.

    Args:
        data: the whole data set; it is split by its series' names as in every command, and rivals
            that learn do so from the training part, of series that are scored from the histories.
        forecasters: what `open_model` gives.
        part: which part is scored. Look at ``test`` once, and choose nothing by it.
        context, horizon: steps given, steps asked for.
        limit: series at most.
        sampling: of the models, rivals give as many futures; default: 20 samples in 4 views, as in
            the command.
        rivals: score the rivals and the rounding floor, too.
        split_seed, stratify: of the split.
        quantiles: levels, of which pairs give coverage.
        seed: of the bootstrap.
        disturbance: what forecasters see is noisier, shorter or less complete by so much; what is
            scored is not.

    Raises:
        DataError: no series is long enough.
    """
    models = [forecasters] if isinstance(forecasters, Forecaster) else list(forecasters)
    if not models and not rivals:
        raise SettingsError(
            "without models and rivals there is nothing to score.", "Leave one of them in."
        )
    check_count("context", context)
    check_count("horizon", horizon, at_most=LONGEST_HORIZON)
    check_count("limit", limit, optional=True)
    check_levels(quantiles)
    if part not in get_args(Split):
        raise SettingsError(
            f"part: should be one of {', '.join(get_args(Split))}, got {part!r}",
            meant(str(part), get_args(Split)).strip() or "validation is the usual one.",
        )
    drawn, seen = sampling or Sampling(views=4), disturbance or NO_DISTURBANCE
    settings = checked(
        EvaluateSettings,
        {
            "split": part,
            "context": context,
            "horizon": horizon,
            "limit": limit,
            "with_model": bool(models),
            "rivals": rivals,
            "split_seed": split_seed,
            "stratify": stratify,
            "quantiles": tuple(quantiles),
            "seed": seed,
            "samples": drawn.samples,
            "greedy": drawn.greedy,
            "temperature": drawn.temperature,
            "top_p": drawn.top_p,
            "views": drawn.views,
            "history_noise": seen.noise,
            "history_gaps": seen.gaps,
            "history_steps": seen.steps,
            "hide": seen.hidden or None,
        },
    )
    job = prepare(settings, data, Silent(), sampling=drawn, disturbance=seen, has_folder=False)
    entries = [score_model(model, job.task, drawn, settings.quantiles) for model in models]
    if rivals:
        entries += score_rivals(job, 1, Silent())
        decimals, scale = (
            (models[0].decimals, models[0].scale) if models else (DEFAULT_DECIMALS, None)
        )
        entries.append(score_floor(job.task, decimals, settings.quantiles, scale))
    return finish(job, entries)
