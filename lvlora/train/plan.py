"""Steps and price bound of a run, from settings, data and a model's outline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Any

import torch

from lvlora.answers import NOTHING, Price
from lvlora.data.dataset import Dataset, Series
from lvlora.data.gaps import note_on_filled, without_short
from lvlora.data.simulate import Likeness
from lvlora.data.splits import Split, split_of
from lvlora.errors import SettingsError
from lvlora.flops.account import Trained
from lvlora.flops.executed import Head
from lvlora.flops.shape import Lora
from lvlora.forecast.reading import loss_of_text
from lvlora.model import devices
from lvlora.model.catalogue import BUNDLED_DECIMALS, ModelSource, resolve
from lvlora.model.devices import memory_limit
from lvlora.model.loading import Outline, outline
from lvlora.model.lora import parse_layers
from lvlora.settings.configuration import to_toml
from lvlora.text.codec import Codec
from lvlora.text.scaling import of_dataset, rounding_losses
from lvlora.text.windows import Windows
from lvlora.train import half_activations, validation
from lvlora.train.schedule import (
    LEAST_BATCHES,
    USUAL,
    Cost,
    Validations,
    choose_validations,
    learning_rate,
    plan_steps,
)
from lvlora.train.settings import TrainSettings
from lvlora.train.validation import ValidationPart


@dataclass(frozen=True, eq=False)
class Plan:
    """A run that could begin, known without opening any weights.

    Attributes:
        settings: the user's, with ``validation_steps`` as a number.
        model: its shape, alphabet, device and dtype.
        train: what is trained on, without the steps that are held out.
        windows: what is trained on; their scale and codec are the run's.
        part: what is validated on; None where nothing is.
        per_step, per_validation: what they cost at most, in both conventions.
        n_steps: optimiser steps of the run; validate_at: after which of them is validated (once
            more before the first).
    """

    settings: TrainSettings
    source: ModelSource
    model: Outline
    dataset: Dataset
    split: Split
    train: Dataset
    windows: Windows
    trained: Trained
    part: ValidationPart | None
    per_step: Price
    per_validation: Price
    n_steps: int
    validate_at: frozenset[int]

    @property
    def tokens_per_step(self) -> int:
        """At most, padding included."""
        settings = self.settings
        return settings.batch_size * settings.accumulation * self.windows.width

    @property
    def compiles(self) -> bool:
        """The layers are compiled, wherever that can be done."""
        is_long = self.n_steps * self.settings.accumulation >= LEAST_BATCHES
        return self.settings.compile == "on" or (self.settings.compile == "auto" and is_long)

    @property
    def cost(self) -> Cost:
        """Price of a step and of a validation; for runs of other lengths."""
        n_series = USUAL.series if self.part is None else self.part.n_series
        return Cost(self.per_step, self.per_validation, series=n_series)

    def n_validations(
        self, first: int = 0, last: int | None = None, *, untrained: bool = True
    ) -> int:
        """Return how many validations there are in the steps ``first`` + 1 … ``last``.

        Args:
            untrained: with the one before the first step.
        """
        if self.part is None:
            return 0
        last = self.n_steps if last is None else last
        return untrained + sum(first < step <= last for step in self.validate_at)

    def bounds(
        self, first: int = 0, last: int | None = None, *, untrained: bool = True
    ) -> dict[str, Price]:
        """Return the most that each phase of these steps can cost; arguments as `n_validations`."""
        n_steps = (self.n_steps if last is None else last) - first
        n_validations = self.n_validations(first, last, untrained=untrained)
        return {
            "train": n_steps * self.per_step,
            "validation": n_validations * self.per_validation,
        }

    def at_most(self) -> Price:
        """Return the most that the run can cost."""
        return sum(self.bounds().values(), NOTHING)

    def lasting(self, n_steps: int, **changes: Any) -> Plan:
        """Return the same run with another number of steps.

        Args:
            changes: settings that no price depends on: save_every, validate_every.
        """
        settings = self.settings.model_copy(update={**changes, "max_steps": n_steps})
        n_steps, validate_at = plan_steps(settings, self.per_step, self.per_validation)
        return replace(self, settings=settings, n_steps=n_steps, validate_at=validate_at)

    def learning_rate(self, step: int) -> float:
        """The rate of a step."""
        s = self.settings
        return learning_rate(step, self.n_steps, s.learning_rate, s.warmup, s.schedule)

    @cached_property
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

    @cached_property
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
    """Plan a run: its text, its steps, its validations, its price; no weights are opened.

    Raises:
        BudgetError: the run would pass ``max_flops``, or not even a step fits.
        DataError, ModelError, SettingsError: as the parts do.
    """
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
    head = Head.of(
        model.shape,
        "full" if settings.full_loss else "numeric",
        settings.train_head,
        model.shape.alphabet_rows,
    )
    trained = Trained(model.shape, Lora.of(settings.rank, settings.targets, layers), head)
    if settings.mix and dataset.known:
        raise SettingsError(
            "--mix and --known: simulated series have no known columns.",
            "Leave one of the two out.",
        )
    windows = Windows(
        train,
        of_dataset(train) if settings.scaling == "dataset" else None,
        Codec(
            settings.decimals,
            len(dataset.known) + len(dataset.variables),
            model.number_format,
        ),
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
    part, how, per_validation = None, USUAL, NOTHING
    validating = learning if n_held_out else dataset.select(split.validation)
    series = validation.scorable(validating, n_held_out)
    if settings.validation and len(series):
        # of which a run without validation has none: the others need it to be priced

        @cache
        def part_of(n_series: int) -> ValidationPart:
            return ValidationPart(windows, series[:n_series], n_held_out)

        def price_of(n_series: int) -> Price:
            return part_of(min(n_series, len(series))).at_most(trained, model, settings.max_memory)

        if settings.validation_series is not None:
            how = Validations(settings.validation_series, USUAL.times)
        else:
            how = choose_validations(settings, per_step, price_of)
        part = part_of(min(how.series, len(series)))
        per_validation = price_of(how.series)
    n_steps, validate_at = plan_steps(settings, per_step, per_validation, how.times)
    return Plan(
        settings=settings,
        source=source,
        model=model,
        dataset=dataset,
        split=split,
        train=train,
        windows=windows,
        trained=trained,
        part=part,
        per_step=per_step,
        per_validation=per_validation,
        n_steps=n_steps,
        validate_at=validate_at,
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
    limit = memory_limit()
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
