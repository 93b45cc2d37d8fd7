"""Everything a run needs before its first step, and what the run will cost.

Knows: settings, data, base model, LoRA, optimiser, prices. Does not know: files of the run, the
ledger, the loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lvlora import __version__, durable
from lvlora.errors import SettingsError
from lvlora.flops import prices
from lvlora.flops.budget import NOTHING, Price
from lvlora.flops.executed import Head
from lvlora.flops.trainable import Lora
from lvlora.model import devices, lora
from lvlora.model.adapters import config as adapter_config
from lvlora.model.adapters import files as adapter_files
from lvlora.model.catalogue import BUNDLED_FORM, ModelSource, resolve
from lvlora.model.head import NumericHead, untie_head
from lvlora.model.loading import BaseModel, load
from lvlora.model.parts import head_of
from lvlora.series.dataset import Dataset
from lvlora.series.splits import Split, split_of
from lvlora.settings import TrainSettings
from lvlora.text.alphabet import SYMBOLS
from lvlora.text.codec import Codec
from lvlora.text.scaling import Scale, of_dataset
from lvlora.text.windows import Windows
from lvlora.train import schedule
from lvlora.train.compilation import compile_layers, is_wanted
from lvlora.train.objective import Objective
from lvlora.train.refusals import check_memory, check_names
from lvlora.train.step_plan import DEFAULT_STEPS as DEFAULT_STEPS
from lvlora.train.step_plan import USUAL
from lvlora.train.step_plan import plan_steps as plan_steps
from lvlora.train.validation import Validator, how_thorough


@dataclass
class Prepared:
    """A run that could begin.

    Attributes:
        parameters: what is trained, by name.
        per_step, per_validation: what they cost at most, in both conventions.
        n_steps: optimiser steps of the run; validate_at: after which of them is validated (once
            more before the first).
        compiled: the layers are compiled for training.
        notes: what a person should know before it begins.
    """

    settings: TrainSettings
    source: ModelSource
    base: BaseModel
    plan: lora.LoraPlan
    objective: Objective
    parameters: dict[str, nn.Parameter]
    optimizers: list[torch.optim.Optimizer]
    windows: Windows
    validator: Validator | None
    scale: Scale
    split: Split
    dataset: Dataset
    lora: Lora
    head: Head
    per_step: Price
    per_validation: Price
    n_steps: int
    validate_at: frozenset[int]
    compiled: bool
    notes: tuple[str, ...] = ()

    @property
    def n_validations(self) -> int:
        """In the whole run, the one before the first step included."""
        return 0 if self.validator is None else 1 + len(self.validate_at)

    def most(self, first: int = 0, *, whole: bool = False) -> Price:
        """The most that the steps from ``first`` on can cost.

        Args:
            whole: with the validation before the first step.
        """
        validations = sum(1 for s in self.validate_at if s > first) + whole
        return (self.n_steps - first) * self.per_step + validations * self.per_validation

    def step_price(self, shapes: Sequence[tuple[int, int]]) -> Price:
        """What a step of micro-batches of these shapes cost."""
        return sum(
            (
                prices.training_step(self.base.shape, b, s, lora=self.lora, head=self.head)
                for b, s in shapes
            ),
            NOTHING,
        )

    @property
    def dropout_seed(self) -> int | None:
        """What dropout is drawn from; None where nothing is drawn."""
        return self.settings.seed if self.settings.dropout else None

    def learning_rate(self, step: int) -> float:
        """The rate of a step."""
        s = self.settings
        return schedule.learning_rate(step, self.n_steps, s.learning_rate, s.warmup, s.schedule)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        placement = self.base.placement
        return {
            "settings": deciding_settings(self.settings),
            "data": self.dataset.sha256(),
            "split": self.split.sha256,
            "base weights": self.base.sha256,
            "tokenizer": [*self.base.alphabet.ids, self.base.alphabet.start],
            "device and dtype": [
                placement.device.type,
                str(placement.dtype),
                *(["compiled"] if self.compiled else []),
            ],
            "schedule": [self.n_steps, sorted(self.validate_at)],
        }

    def changes_since(self, saved: dict[str, Any]) -> list[str]:
        """What of `identity` is not as it was, by name; settings one by one."""
        now = self.identity()
        changed = [key for key in now if key != "settings" and saved.get(key) != now[key]]
        # a setting that a run did not have yet was what its default is
        before = deciding_settings(TrainSettings()) | saved.get("settings", {})
        for name, value in now["settings"].items():
            if before[name] != value:
                changed.append(f"{name} ({before[name]} then, {value} now)")
        return changed

    def adapter_facts(self) -> dict[str, Any]:
        """What lvlora.json says beside an adapter of this run."""
        source, alphabet = self.source, self.base.alphabet
        known = {"bundled": "bundled", "hub": source.location}
        # a folder is found again from any working directory
        model = known.get(source.kind) or str(Path(source.location).resolve())
        return {
            "lvlora_version": __version__,
            "model": model,
            "model_kind": source.kind,
            "revision": source.revision,
            "settings_sha256": settings_hash(self.settings),
            "data_sha256": self.dataset.sha256(),
            "base_sha256": self.base.sha256,
            "split_sha256": self.split.sha256,
            "alphabet": [*alphabet.ids, alphabet.start],
            "decimals": self.settings.decimals,
            "number_format": self.settings.number_format,
            "scale": self.scale.to_dict(),
            "variables": list(self.dataset.variables),
            "data": self.dataset.source,
            "loss": self.objective.loss_name,
        }

    def save_adapter(self, folder: Any, facts: dict[str, Any]) -> None:
        """Write the adapter as it is now."""
        full = self.settings.train_head == "full"
        adapter_files.save(
            folder,
            adapter_config.config_for(self.plan, self.source.name, full),
            adapter_files.adapter_tensors(self.base.module, self.objective.head, full),
            {**self.adapter_facts(), **facts},
        )


def deciding_settings(settings: TrainSettings) -> dict[str, Any]:
    """The settings that decide a run's result, as JSON; `Prepared.identity` has the rest."""
    return settings.deciding("result", "limit")


def settings_hash(settings: TrainSettings) -> str:
    """A hash of the settings that decide a run's result."""
    return durable.sha256_of_json(deciding_settings(settings))


def prepare(settings: TrainSettings, dataset: Dataset) -> Prepared:
    """Load, inject, tokenize, price.

    Raises:
        BudgetError: the run would pass ``max_flops``, or not even a step fits.
        DataError, ModelError, SettingsError: as the parts do.
    """
    check_names(settings)
    devices.set_threads(settings.threads)
    source = resolve(settings.model, settings.revision, keep=settings.cache)
    split = split_of(dataset, settings)
    train = dataset.select(split.train)
    scale = of_dataset(train)
    codec = Codec(settings.decimals, len(dataset.variables), settings.number_format)

    base = load(source, devices.choose(settings.device, settings.dtype))
    plan = lora.LoraPlan(
        rank=settings.rank,
        alpha=settings.effective_alpha,
        targets=settings.targets,
        layers=lora.parse_layers(settings.layers, base.shape.layers),
        dropout=settings.dropout,
        rslora=settings.rslora,
    )
    lora.inject(base.module, plan, settings.seed)
    for _, layer in lora.lora_layers(base.module):
        layer.train()
    objective = Objective(base.module, base.alphabet, _head(base, settings))
    parameters = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
    if objective.head is not None:
        parameters |= {f"head.{n}": p for n, p in objective.head.named_parameters()}
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    windows = Windows(
        train,
        scale,
        codec,
        base.alphabet,
        seq_len=settings.seq_len,
        seed=settings.seed,
        batch_size=settings.batch_size,
        scale_jitter=settings.scale_jitter,
        window_start=settings.window_start,
    )
    if windows.width > base.max_positions:
        raise SettingsError(
            f"--seq-len {settings.seq_len}: {base.name} reads {base.max_positions} tokens at most",
            f"Use --seq-len {base.max_positions}.",
        )
    check_memory(settings, base, windows.width)
    priced = Lora.of(plan.rank, plan.targets, plan.layers)
    head = Head.of(
        base.shape, "full" if settings.full_loss else "numeric", settings.train_head, len(SYMBOLS)
    )
    per_step = settings.accumulation * prices.training_step(
        base.shape, settings.batch_size, windows.width, lora=priced, head=head
    )
    validator, how = None, USUAL
    if settings.validation and split.validation:
        part = dataset.select(split.validation)
        how = how_thorough(settings, per_step, windows, part)
        validator = Validator(
            base,
            objective,
            part,
            scale=scale,
            codec=codec,
            seq_len=settings.seq_len,
            window_start=settings.window_start,
            batch_size=settings.batch_size,
            n_series=how.series,
            horizon=how.horizon,
            lora=priced,
            head=head,
            max_memory=settings.max_memory,
        )
    per_validation = validator.most() if validator else NOTHING
    n_steps, validate_at = plan_steps(settings, per_step, per_validation, how.times)
    compiled = is_wanted(settings.compile, n_steps * settings.accumulation, base.placement.device)
    if compiled:
        compile_layers(base.module)
    notes = _notes(settings, source, split, parameters, validator if how.horizon else None)
    return Prepared(
        settings,
        source,
        base,
        plan,
        objective,
        parameters,
        [optimizer],
        windows,
        validator,
        scale,
        split,
        dataset,
        priced,
        head,
        per_step,
        per_validation,
        n_steps,
        validate_at,
        compiled,
        notes,
    )


def _notes(
    settings: TrainSettings,
    source: ModelSource,
    split: Split,
    parameters: dict[str, nn.Parameter],
    shortened: Validator | None,
) -> tuple[str, ...]:
    notes = []
    written = settings.decimals, settings.number_format
    if source.kind == "bundled" and written != BUNDLED_FORM:
        made, asked = (Codec(d, 1, f).number(1.5) for d, f in (BUNDLED_FORM, written))
        notes.append(
            f"The bundled model was made to write 1.5 as {made}, and must learn to write {asked}: "
            "that takes a long run."
        )
    if shortened is not None:
        notes.append(
            f"A short run of a large model: it is validated on {len(shortened.histories)} series, "
            f"{shortened.horizon} steps ahead; --validation-series N: on N, half of each ahead."
        )
    if settings.validation and not split.validation:
        notes.append("There are too few series to validate with: the last adapter is the best.")
    if settings.train_head == "full":
        head = sum(p.numel() for n, p in parameters.items() if ".lora_" not in n)
        whole = sum(p.numel() for p in parameters.values())
        notes.append(
            f"--train-head full: the head is untied and has {head:,} values; the adapter will "
            f"take {4 * whole / 1e6:,.1f} MB, each checkpoint three times that."
        )
    return tuple(notes)


def _head(base: BaseModel, settings: TrainSettings) -> NumericHead | None:
    if settings.train_head == "full":
        untie_head(base.module)
        head = head_of(base.module)
        head.weight = nn.Parameter(head.weight.detach().float(), requires_grad=True)
    if settings.full_loss:
        return None
    return NumericHead(base.module, base.alphabet, trainable=settings.train_head == "numeric")
