"""The plan of a run, from settings, data and a model's outline: text, steps, rates, validations.

Its price bound follows, so a run can be refused before any weights are opened.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import torch

from lvlora import durable
from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, Series
from lvlora.data.gaps import note_on_filled, without_short
from lvlora.data.simulate import Likeness
from lvlora.data.splits import Split, split_of
from lvlora.errors import BudgetError, SettingsError
from lvlora.flops.account import Trained
from lvlora.flops.executed import Head
from lvlora.flops.shape import Lora
from lvlora.forecast.reading import loss_of_text
from lvlora.model import devices
from lvlora.model.catalogue import BUNDLED_DECIMALS, ModelSource, resolve
from lvlora.model.loading import Outline, outline
from lvlora.model.lora import parse_layers
from lvlora.settings.configuration import to_toml
from lvlora.text.codec import Codec
from lvlora.text.scaling import of_dataset, rounding_losses
from lvlora.text.windows import Windows
from lvlora.train import half_activations, validation
from lvlora.train.settings import LearningSettings, Schedule, TrainSettings
from lvlora.train.validation import ValidationPart

DEFAULT_STEPS = 200
_LEAST_COMPILED = 500
"""Micro-batches from which on a run is long enough for its layers to be compiled."""
_MOST_STEPS = 10**9
_MOST_VALIDATIONS = 10**5
"""More than any machine makes; a plan of more could not even be written down."""
_COSINE_END = 0.1
_SHARE = 20
"""One part in so many of a run's FLOPs is for validation."""
_FREE_FLOPS = 2 * 10**12
"""Or so many, where that is more: seconds on any machine."""


@dataclass(frozen=True)
class Validations:
    """Thoroughness of validations: the series scored each time, and how often.

    ``times`` is beside the one before the first step, where the settings do not say how often.
    """

    series: int
    times: int


USUAL = Validations(series=16, times=4)
_LEAST = Validations(series=4, times=1)


def validation_choices(series: int | None = None, *, often: bool = False) -> list[Validations]:
    """Return choices from the most thorough to the least: fewer series first, then less often.

    With ``series`` that is the only number of series; with ``often`` none is less often.
    """
    fewer = range(USUAL.series, _LEAST.series - 1, -1) if series is None else (series,)
    seldom = () if often else range(USUAL.times - 1, _LEAST.times - 1, -1)
    return [
        *(Validations(n, USUAL.times) for n in fewer),
        *(Validations(fewer[-1], times) for times in seldom),
    ]


def choose_validations(
    settings: LearningSettings, per_step: Price, price_of: Callable[[int], Price]
) -> Validations:
    """Choose validations as thorough as a twentieth of the run's FLOPs (or 2e12) pays for.

    It goes by FLOPs, not by time, so that a run is the same on every machine. ``price_of`` bounds
    the price of a validation of so many series.
    """
    if settings.validation_series is not None:
        return Validations(settings.validation_series, USUAL.times)
    convention, limit = settings.convention, settings.max_flops
    step = per_step.of(convention)
    n_steps = settings.max_steps or (DEFAULT_STEPS if limit is None else limit // step)
    allowed = max(n_steps * step // _SHARE, _FREE_FLOPS)
    for choice in validation_choices():
        every = settings.validate_every
        times = choice.times if every is None else n_steps // every
        if (1 + times) * price_of(choice.series).of(convention) <= allowed:
            return choice
    return _LEAST


def steps_between_validations(
    settings: LearningSettings, n_steps: int, times: int = USUAL.times
) -> int:
    """Return the settings' number, or that of ``times`` validations in ``n_steps``."""
    return settings.validate_every or max(1, -(-n_steps // times))


@dataclass(frozen=True)
class Cost:
    """The most that a step and a validation of ``series`` cost.

    ``times`` are the validations of a run whose settings do not say how often.
    """

    per_step: Price
    per_validation: Price
    times: int = USUAL.times
    series: int = USUAL.series

    def validated(self, how: Validations) -> Cost:
        """Return the cost with other validations, of no more series than there are."""
        series = min(how.series, self.series)
        share = Price(
            *(-(-n * series // self.series) for n in self.per_validation.to_dict().values())
        )
        return Cost(self.per_step, share, how.times, series)

    def of_run(self, settings: LearningSettings, n_steps: int) -> Price:
        """Return the most that a run costs, the validation before its first step included."""
        # the last step is validated, too, wherever it falls
        every = steps_between_validations(settings, n_steps, self.times)
        validations = 1 + -(-n_steps // every)
        return n_steps * self.per_step + validations * self.per_validation

    def steps_within(self, settings: LearningSettings, cap: int, convention: str) -> int:
        """Return the most steps whose run costs no more than ``cap``; 0 where none fits."""
        low, high = 0, cap // self.per_step.of(convention)
        while low < high:
            middle = (low + high + 1) // 2
            if self.of_run(settings, middle).of(convention) <= cap:
                low = middle
            else:
                high = middle - 1
        return low


def plan_steps(settings: LearningSettings, cost: Cost) -> tuple[int, frozenset[int]]:
    """Return the number of steps, and after which to validate (besides before the first).

    ``max_flops`` without ``max_steps`` buys as many steps as fit beside the validations.
    """
    convention, limit = settings.convention, settings.max_flops
    step, validation = cost.per_step.of(convention), cost.per_validation.of(convention)

    def validated(n: int) -> frozenset[int]:
        every = steps_between_validations(settings, n, cost.times)
        if n > _MOST_STEPS or (validation and n // every > _MOST_VALIDATIONS):
            raise SettingsError(
                f"{n:,} steps with a validation after every {every:,} are more than a run can have "
                f"({_MOST_STEPS:,} steps, {_MOST_VALIDATIONS:,} validations)",
                "Name fewer --max-steps, or a larger --validate-every.",
            )
        return frozenset({*range(every, n + 1, every), n}) if validation else frozenset()

    def most(n: int) -> int:
        """Rises with n, as the true price of a few steps more need not."""
        every = settings.validate_every
        wanted = -(-n // every) if every else min(n, cost.times)
        return n * step + (1 + wanted) * validation

    if settings.max_steps is None and limit is not None:
        steps = range(1, min(limit // step, _MOST_STEPS + 1) + 1)
        n_steps = bisect.bisect_right(steps, limit, key=most)
        if n_steps < 1:
            validations = f", two validations {2 * validation:,}" if validation else ""
            raise BudgetError(
                f"--max-flops {limit:,}: one step costs {step:,} FLOPs ({convention}){validations}",
                "Raise the limit, use a smaller --batch-size or --seq-len, or --no-validation.",
            )
        return n_steps, validated(n_steps)
    n_steps = settings.max_steps or DEFAULT_STEPS
    at = validated(n_steps)
    wanted = n_steps * step + (1 + len(at)) * validation
    if limit is not None and wanted > limit:
        raise BudgetError(
            f"{n_steps} steps and their validations may cost {wanted:,} FLOPs ({convention}), "
            f"--max-flops allows {limit:,}",
            "Leave out --max-steps to get as many steps as fit, or --no-validation.",
        )
    return n_steps, at


def learning_rate(step: int, n_steps: int, peak: float, warmup: float, schedule: Schedule) -> float:
    """Return the rate of ``step`` (from 0) in a run of ``n_steps``.

    - cosine: linear warm-up, then half a cosine down to a tenth of the peak (Loshchilov & Hutter
      2016, arXiv:1608.03983).
    - constant: linear warm-up, then the peak.

    ``warmup`` is the share of the steps in which the rate rises.
    """
    rising = round(warmup * n_steps)
    if step < rising:
        return peak * (step + 1) / rising
    if schedule == "constant":
        return peak
    way = (step - rising) / max(1, n_steps - rising)
    return peak * (_COSINE_END + (1.0 - _COSINE_END) * (0.5 + 0.5 * math.cos(math.pi * way)))


@dataclass(frozen=True, eq=False)
class Plan:
    """A run that could begin, known without opening any weights."""

    settings: TrainSettings  # the user's, with ``validation_steps`` as a number
    source: ModelSource
    model: Outline
    dataset: Dataset
    split: Split
    train: Dataset  # without the steps that are held out
    windows: Windows  # their scale and codec are the run's
    trained: Trained
    part: ValidationPart | None
    cost: Cost
    n_steps: int
    validate_at: frozenset[int]  # once more before the first step

    @property
    def tokens_per_step(self) -> int:
        """At most, padding included."""
        settings = self.settings
        return settings.batch_size * settings.accumulation * self.windows.width

    @property
    def compiles(self) -> bool:
        """The layers are compiled, wherever that can be done."""
        is_long = self.n_steps * self.settings.accumulation >= _LEAST_COMPILED
        return self.settings.compile == "on" or (self.settings.compile == "auto" and is_long)

    @property
    def settings_sha256(self) -> str:
        """A hash of the settings that decide the result."""
        return durable.sha256_of_json(deciding_settings(self.settings))

    def n_validations(
        self, first: int = 0, last: int | None = None, *, untrained: bool = True
    ) -> int:
        """Count validations in steps ``first`` + 1 … ``last``, and ``untrained`` before step 1."""
        if self.part is None:
            return 0
        last = self.n_steps if last is None else last
        return untrained + sum(first < step <= last for step in self.validate_at)

    def bounds(self, first: int, last: int, *, untrained: bool) -> dict[str, Price]:
        """Return the most that each phase of these steps can cost; arguments as `n_validations`."""
        n_validations = self.n_validations(first, last, untrained=untrained)
        return {
            "train": (last - first) * self.cost.per_step,
            "validation": n_validations * self.cost.per_validation,
        }

    def at_most(self) -> Price:
        """Return the most that the run can cost."""
        return sum(self.bounds(0, self.n_steps, untrained=True).values(), NOTHING)

    def lasting(self, n_steps: int, **changes: Any) -> Plan:
        """Return the same run with other steps, and changes of what no price depends on."""
        settings = self.settings.model_copy(update={**changes, "max_steps": n_steps})
        n_steps, validate_at = plan_steps(settings, replace(self.cost, times=USUAL.times))
        return replace(self, settings=settings, n_steps=n_steps, validate_at=validate_at)

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step."""
        s = self.settings
        return learning_rate(step, self.n_steps, s.learning_rate, s.warmup, s.schedule)

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what a person should know before the run begins."""
        settings = self.settings
        first = self.source.first_note(settings.runs)
        notes = [first] if first else []
        if self.source.kind == "bundled" and settings.decimals != BUNDLED_DECIMALS:
            notes.append(
                f"The bundled model writes {BUNDLED_DECIMALS} decimals, and must learn to write "
                f"{settings.decimals}: that takes a long run."
            )
        part = self.part
        if part is not None and settings.validation_steps:
            n_series = "the series" if part.n_series == 1 else f"{part.n_series} series"
            notes.append(
                f"Validation is on the last {settings.validation_steps} steps of {n_series}, which "
                "are not trained on (--validation-steps)."
            )
        if settings.validation and part is None:
            notes.append("There are too few series to validate with: the last adapter is the best.")
        if self.windows.n_filled:
            notes.append(note_on_filled(self.windows.n_filled, "the text has"))
        return tuple(notes)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what a person should change, perhaps, before the run begins."""
        settings, scale, names = self.settings, self.windows.scale, self.dataset.variables
        if scale is None:
            lost = loss_of_text(self.train.series, None, settings.decimals, names)
        else:
            scales = [scale.part(len(self.dataset.known))] * len(self.train)
            lost = rounding_losses(self.train.series, scales, settings.decimals, names)
        return (lost,) if lost else ()


def deciding_settings(settings: TrainSettings) -> dict[str, Any]:
    """The settings that decide a run's result, as JSON; identities have the rest as hashes."""
    return settings.deciding("result", "limit")


def plan_run(settings: TrainSettings, dataset: Dataset) -> Plan:
    """Plan a run: its text, its steps, its validations, its price; no weights are opened."""
    try:
        to_toml("train", settings).encode()
    except UnicodeEncodeError:
        raise SettingsError(
            "a file's name is not UTF-8, so the run could not write its settings down",
            "Rename it, or make a link with another name to it.",
        ) from None
    # before the dtype is chosen: that is a matter of timing, which threads decide
    devices.set_threads(settings.threads)
    source = resolve(settings.model, settings.revision)
    split = split_of(dataset, settings)
    n_held_out = validation.held_out_steps(settings, dataset)
    settings = settings.model_copy(update={"validation_steps": n_held_out})
    # of series that none can be spared of, those that would validate learn, too
    learning = dataset.select(split.train + split.validation if n_held_out else split.train)
    train = validation.trained_on(learning, n_held_out)
    model = outline(source, devices.choose(settings.device, settings.dtype))
    layers = parse_layers(settings.layers, model.shape.layers)
    loss = "full" if settings.full_loss else "numeric"
    head = Head.of(model.shape, loss, settings.train_head)
    trained = Trained(model.shape, Lora.of(settings.rank, settings.targets, layers), head)
    if settings.mix and dataset.known:
        raise SettingsError(
            "--mix and --known: simulated series have no known columns.",
            "Leave one of the two out.",
        )
    windows = Windows(
        train,
        of_dataset(train) if settings.scaling == "dataset" else None,
        Codec(settings.decimals, len(dataset.known) + len(dataset.variables), model.number_format),
        model.alphabet,
        seq_len=settings.seq_len,
        seed=settings.seed,
        batch_size=settings.batch_size,
        scale_jitter=settings.scale_jitter,
        mix=settings.mix,
        simulated=_simulated(settings, train) if settings.mix else None,
    )
    if windows.width > model.max_positions:
        raise SettingsError(
            f"--seq-len {settings.seq_len}: {model.name} reads {model.max_positions} tokens "
            "at most",
            f"Use --seq-len {model.max_positions}.",
        )
    _check_memory(settings, model, windows.width)
    per_step = settings.accumulation * trained.step([(settings.batch_size, windows.width)])
    validating = learning if n_held_out else dataset.select(split.validation)
    series = validation.scorable(validating, n_held_out)

    @cache
    def validated(n_series: int) -> tuple[ValidationPart, Price]:
        part = ValidationPart(windows, series[:n_series], n_held_out)
        return part, part.at_most(trained, model, settings.max_memory)

    part, cost = None, Cost(per_step, NOTHING)
    # without validation no forecast is priced, which may refuse what it needs
    if settings.validation and len(series):
        how = choose_validations(
            settings, per_step, lambda n_series: validated(min(n_series, len(series)))[1]
        )
        part, price = validated(min(how.series, len(series)))
        cost = Cost(per_step, price, how.times, part.n_series)
    steps = plan_steps(settings, cost)
    return Plan(
        settings, source, model, dataset, split, train, windows, trained, part, cost, *steps
    )


def _simulated(settings: TrainSettings, train: Dataset) -> Callable[[int], Series]:
    """Series to mix in, by their number."""
    # with as many gaps as the text is left with
    read = replace(train, series=tuple(map(without_short, train)))
    likeness = replace(Likeness.to(train), gaps=Likeness.to(read).gaps)
    return partial(likeness.series, settings.seed)


def _check_memory(settings: TrainSettings, model: Outline, width: int) -> None:
    """Refuse a step whose tokens and layers' inputs alone, a part of its memory, cannot fit."""
    placement, shape, n_processes = model.placement, model.shape, 1
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        n_processes = torch.distributed.get_world_size()
    limit = devices.memory_limit()
    if placement.device.type == "cuda":
        limit = torch.cuda.get_device_properties(placement.device).total_memory
    size = 2 if half_activations.is_wanted(placement) else placement.dtype.itemsize
    rows = -(-settings.batch_size // n_processes)
    tokens = settings.accumulation * settings.batch_size * width * 16
    needed = tokens + rows * width * shape.layers * shape.hidden * size
    if limit is not None and needed > limit:
        raise SettingsError(
            f"--batch-size {settings.batch_size:,}, --accumulation {settings.accumulation:,}: a "
            f"step takes more than {needed / 1e9:,.0f} GB of memory with {model.name}, of "
            f"{limit / 1e9:,.1f} GB that are there",
            "A smaller --batch-size makes the same step with a larger --accumulation.",
        )
