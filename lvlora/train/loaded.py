"""A planned run with its weights: base model, LoRA, optimiser and validator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lvlora import __version__, durable
from lvlora.model import lora
from lvlora.model.adapters import config as adapter_config
from lvlora.model.adapters import files as adapter_files
from lvlora.model.head import NumericHead, untie_head
from lvlora.model.loading import BaseModel, load
from lvlora.model.parts import head_of
from lvlora.settings.training import TrainSettings
from lvlora.text.scaling import sizes_of
from lvlora.train import remembered
from lvlora.train.compilation import compile_layers, is_wanted
from lvlora.train.objective import Objective
from lvlora.train.plan import Plan, deciding_settings
from lvlora.train.remembered import Remembered
from lvlora.train.validation import Validator


@dataclass(frozen=True, eq=False)
class Loaded:
    """A run that is ready for its first step.

    Attributes:
        lora: where the updates are.
        parameters: what is trained, by name.
        validator: None where nothing is validated.
        compiled: the layers are compiled for training.
    """

    plan: Plan
    base: BaseModel
    lora: lora.LoraPlan
    objective: Objective
    parameters: dict[str, nn.Parameter]
    optimizers: list[torch.optim.Optimizer]
    validator: Validator | None
    compiled: bool

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        placement = self.base.placement
        return {
            **self.plan.identity(),
            "base weights": self.base.sha256,
            "device and dtype": [
                placement.device.type,
                str(placement.dtype),
                *(["compiled"] if self.compiled else []),
                *(["activations in float16"] if self.objective.remembered else []),
            ],
        }

    def changes_since(self, saved: dict[str, Any]) -> list[str]:
        """What of `identity` is not as it was, by name; settings one by one."""
        now = self.identity()
        changed = [key for key in now if key != "settings" and saved.get(key) != now[key]]
        before = saved.get("settings", {})
        for name, value in now["settings"].items():
            if before.get(name) != value:
                changed.append(f"{name} ({before.get(name)} then, {value} now)")
        return changed

    def adapter_facts(self) -> dict[str, Any]:
        """What lvlora.json says beside an adapter of this run."""
        plan, settings = self.plan, self.plan.settings
        source, alphabet = plan.source, self.base.alphabet
        known = {"bundled": "bundled", "hub": source.location}
        scale = plan.windows.scale
        # a folder is found again from any working directory
        model = known.get(source.kind) or str(Path(source.location).resolve())
        return {
            "lvlora_version": __version__,
            "model": model,
            "model_kind": source.kind,
            "revision": source.revision,
            "settings_sha256": settings_hash(settings),
            "data_sha256": plan.dataset.sha256(),
            "base_sha256": self.base.sha256,
            "split_sha256": plan.split.sha256,
            "held_out": settings.validation_steps,
            "alphabet": [*alphabet.ids, alphabet.start],
            "decimals": settings.decimals,
            "number_format": plan.windows.codec.number_format,
            "scale": None if scale is None else scale.to_dict(),
            "variables": list(plan.dataset.variables),
            "known": list(plan.dataset.known),
            "data": plan.dataset.source,
            "sizes": list(sizes_of(plan.dataset)),
            "loss": self.objective.loss_name,
        }

    def save_adapter(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write the adapter as it is now."""
        full = self.plan.settings.train_head == "full"
        adapter_files.save(
            folder,
            adapter_config.config_for(self.lora, self.plan.source.for_peft, full),
            adapter_files.adapter_tensors(self.base.module, self.objective.head, full),
            {**self.adapter_facts(), **facts},
        )


def settings_hash(settings: TrainSettings) -> str:
    """A hash of the settings that decide a run's result."""
    return durable.sha256_of_json(deciding_settings(settings))


def load_run(plan: Plan, base: BaseModel | None = None) -> Loaded:
    """Open the weights of a planned run, put the updates in, make the optimiser.

    Args:
        base: the model, if not the one that the plan names; the run takes it over.

    Raises:
        ModelError: the weights are missing or broken.
        SettingsError: a target that the model does not have; nothing can be compiled here, and has
            to be.
    """
    settings = plan.settings
    if base is None:
        base = load(plan.source, plan.model.placement, outlined=plan.model)
    updates = lora.LoraPlan(
        rank=settings.rank,
        alpha=settings.effective_alpha,
        targets=settings.targets,
        layers=lora.parse_layers(settings.layers, base.shape.layers),
        dropout=settings.dropout,
        rslora=settings.rslora,
    )
    lora.inject(base.module, updates, settings.seed)
    for _, layer in lora.lora_layers(base.module):
        layer.train()
    head = _head(base, settings)
    in_half = remembered.is_wanted(base.placement)
    objective = Objective(
        base.module, base.alphabet, head, Remembered(base.module) if in_half else None
    )
    parameters = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
    if objective.head is not None:
        parameters |= {f"head.{n}": p for n, p in objective.head.named_parameters()}
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    validator = None
    if plan.part is not None:
        validator = Validator(base, objective, plan.part, plan.trained, settings.max_memory)
    n_batches = plan.n_steps * settings.accumulation
    compiled = is_wanted(settings.compile, n_batches, base.placement.device)
    if compiled:
        compile_layers(base.module)
    return Loaded(plan, base, updates, objective, parameters, [optimizer], validator, compiled)


def _head(base: BaseModel, settings: TrainSettings) -> NumericHead | None:
    if settings.train_head == "full":
        untie_head(base.module)
        head = head_of(base.module)
        head.weight = nn.Parameter(head.weight.detach().float(), requires_grad=True)
    if settings.full_loss:
        return None
    return NumericHead(base.module, base.alphabet, trainable=settings.train_head == "numeric")
