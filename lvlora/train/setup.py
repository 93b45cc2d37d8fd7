"""Everything a run needs before its first step, and what the run will cost.

Knows: settings, data, base model, LoRA, optimiser, prices. Does not know: files of the run, the
ledger, the loop.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lvlora import __version__
from lvlora.errors import BudgetError, SettingsError
from lvlora.flops import prices
from lvlora.flops.budget import NOTHING, Price, steps_that_fit
from lvlora.flops.executed import Head
from lvlora.flops.trainable import Lora
from lvlora.model import adapter_config, adapter_files, devices, lora
from lvlora.model.catalogue import ModelSource, resolve
from lvlora.model.head import NumericHead, untie_head
from lvlora.model.loading import BaseModel, load
from lvlora.model.parts import head_of
from lvlora.series.analysis import cluster, measure
from lvlora.series.dataset import Dataset
from lvlora.series.splits import Split, split_ids
from lvlora.settings import SplitSettings, TrainSettings
from lvlora.text.alphabet import SYMBOLS
from lvlora.text.codec import Codec
from lvlora.text.scaling import Scale, of_dataset
from lvlora.text.windows import Windows
from lvlora.train import schedule
from lvlora.train.objective import Objective
from lvlora.train.validation import Validator

DEFAULT_STEPS = 200
_VALIDATIONS = 4
STRATA = 4


def split_of(dataset: Dataset, settings: SplitSettings) -> Split:
    """The split that the settings ask for."""
    strata = None
    if settings.stratify:
        n_clusters = min(STRATA, len(dataset))
        found = cluster(dataset, measure(dataset), n_clusters, settings.split_seed)
        strata = [int(label) for label in found.labels]
    return split_ids(dataset, settings.split_seed, strata)


@dataclass
class Prepared:
    """A run that could begin.

    Attributes:
        parameters: what is trained, by name.
        per_step, per_validation: what they cost at most, in both conventions.
        n_steps: optimiser steps of the run; validate_at: after which of them is validated.
        limit: FLOPs of the run in the settings' convention, or None.
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

    def most(self, first: int = 0) -> Price:
        """The most that the steps from ``first`` on can cost."""
        validations = sum(1 for s in self.validate_at if s > first)
        return (self.n_steps - first) * self.per_step + validations * self.per_validation

    def step_price(self, shapes: Sequence[tuple[int, int]]) -> Price:
        """What a step of micro-batches of these shapes cost."""
        return sum(
            (prices.training_step(self.base.shape, b, s, lora=self.lora, head=self.head)
             for b, s in shapes),
            NOTHING,
        )  # fmt: skip

    def learning_rate(self, step: int) -> float:
        """The rate of a step."""
        s = self.settings
        return schedule.learning_rate(step, self.n_steps, s.learning_rate, s.warmup, s.schedule)

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return {
            "settings_sha256": settings_hash(self.settings),
            "data_sha256": self.dataset.sha256(),
            "base_sha256": self.base.sha256,
            "split_sha256": self.split.sha256,
            "alphabet": [*self.base.alphabet.ids, self.base.alphabet.start],
        }

    def adapter_facts(self) -> dict[str, Any]:
        """What lvlora.json says beside an adapter of this run."""
        model = self.source.location if self.source.kind in ("folder", "gguf", "hub") else "bundled"
        return {
            "lvlora_version": __version__,
            "model": model,
            "model_kind": self.source.kind,
            **self.identity(),
            "decimals": self.settings.decimals,
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


def settings_hash(settings: TrainSettings) -> str:
    """A hash of what decides a run's result: not where it is written or what it may cost."""
    leave_out = {"out", "runs", "overwrite", "resume", "budget", "save_every"}
    chosen = settings.model_dump(mode="json", exclude=leave_out)
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def prepare(settings: TrainSettings, dataset: Dataset) -> Prepared:
    """Load, inject, tokenize, price.

    Raises:
        BudgetError: the run would pass ``max_flops``, or not even a step fits.
        DataError, ModelError, SettingsError: as the parts do.
    """
    devices.set_threads(settings.threads)
    source = resolve(settings.model, settings.revision)
    split = split_of(dataset, settings)
    train = dataset.select(split.train)
    scale = of_dataset(train)
    codec = Codec(settings.decimals, len(dataset.variables))

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
        train, scale, codec, base.alphabet, seq_len=settings.seq_len,
        batch_size=settings.batch_size, seed=settings.seed,
    )  # fmt: skip
    if windows.width > base.max_positions:
        raise SettingsError(
            f"--seq-len {settings.seq_len}: {base.name} reads {base.max_positions} tokens at most",
            f"Use --seq-len {base.max_positions}.",
        )
    priced = Lora.of(plan.rank, plan.targets, plan.layers)
    head = Head.of(
        base.shape, "full" if settings.full_loss else "numeric", settings.train_head, len(SYMBOLS)
    )
    validator = None
    if settings.validation and split.validation:
        validator = Validator(
            base, objective, dataset.select(split.validation), scale=scale,
            decimals=settings.decimals, seq_len=settings.seq_len, batch_size=settings.batch_size,
            n_series=settings.validation_series, lora=priced, head=head,
        )  # fmt: skip
    per_step = settings.accumulation * prices.training_step(
        base.shape, settings.batch_size, windows.width, lora=priced, head=head
    )
    per_validation = validator.most() if validator else NOTHING
    n_steps, validate_at = plan_steps(settings, per_step, per_validation)
    return Prepared(
        settings, source, base, plan, objective, parameters, [optimizer], windows, validator,
        scale, split, dataset, priced, head, per_step, per_validation, n_steps, validate_at,
    )  # fmt: skip


def plan_steps(
    settings: TrainSettings, per_step: Price, per_validation: Price
) -> tuple[int, frozenset[int]]:
    """How many steps, and after which of them to validate.

    ``max_flops`` without ``max_steps`` buys as many steps as fit beside the validations.
    """
    convention, limit = settings.convention, settings.max_flops
    validating = per_validation.of(convention) > 0
    if settings.max_steps is not None or limit is None:
        n_steps = settings.max_steps or DEFAULT_STEPS
    else:
        fixed = per_validation.of(convention) * (_VALIDATIONS if validating else 0)
        n_steps = steps_that_fit(limit, fixed, per_step.of(convention))
        if n_steps < 1:
            raise BudgetError(
                f"--max-flops {limit:,}: one step costs {per_step.of(convention):,} FLOPs "
                f"({convention}), validations {fixed:,}",
                "Raise the limit, use a smaller --batch-size or --seq-len, or --no-validation.",
            )
    every = settings.validate_every or max(1, -(-n_steps // _VALIDATIONS))
    at = frozenset({*range(every, n_steps + 1, every), n_steps}) if validating else frozenset()
    if limit is not None:
        wanted = n_steps * per_step.of(convention) + len(at) * per_validation.of(convention)
        if wanted > limit:
            raise BudgetError(
                f"{n_steps} steps and {len(at)} validations may cost {wanted:,} FLOPs "
                f"({convention}), --max-flops allows {limit:,}",
                "Leave out --max-steps to get as many steps as fit, or --no-validation.",
            )
    return n_steps, at


def _head(base: BaseModel, settings: TrainSettings) -> NumericHead | None:
    if settings.train_head == "full":
        untie_head(base.module)
        head = head_of(base.module)
        head.weight = nn.Parameter(head.weight.detach().float(), requires_grad=True)
    if settings.full_loss:
        return None
    return NumericHead(base.module, base.alphabet, trainable=settings.train_head == "numeric")
