"""The steps of a training: the model with its updates, the loss, the layers, the loop.

`load_run` opens the weights of a planned run. `steps` is a generator that prints nothing, saves
nothing and decides nothing: the caller stops by no longer asking for the next step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lvlora import __version__
from lvlora.errors import NumericalError, SettingsError, reason
from lvlora.forecast import widths
from lvlora.forecast.language_model import LanguageModel
from lvlora.forecast.widths import Widths
from lvlora.model import adapters, lora
from lvlora.model.head import NumericHead, cap, decoder_of, final_softcap_of, head_of, untie_head
from lvlora.model.loading import BaseModel, load
from lvlora.text.codec import TokenAlphabet
from lvlora.text.scaling import sizes_of
from lvlora.text.windows import IGNORED, Batch
from lvlora.train import half_activations
from lvlora.train.half_activations import HalfActivations
from lvlora.train.plan import Plan, deciding_settings
from lvlora.train.process import ALONE, Ranks, seeded
from lvlora.train.record import StepRecord
from lvlora.train.validation import Scoring


def compile_problem(device: torch.device) -> str | None:
    """Return why layers cannot be compiled here, by trying it; None: they can."""
    if device.type == "mps":
        return "not tried on Apple GPUs"
    try:
        compiled: Any = torch.compile(_trivial, fullgraph=True)
        compiled(torch.ones(64, device=device))
    except Exception as error:  # whatever the compiler's many layers make of a missing part
        return reason(error)
    return None


def _trivial(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def compile_layers(model: nn.Module) -> int:
    """Compile each transformer layer at its first call; return how many there are.

    One layer is one region, so that all share a compilation.
    """
    layers: Any = decoder_of(model).get_submodule("layers")
    for layer in layers:
        layer.compile()
    return len(layers)


class Objective:
    """Sum of cross-entropies over a batch's real targets.

    The caller divides it by the targets of the whole step, so every target weighs the same.
    ``head`` is the restricted one (``numeric``), or None for the model's own (``full``).
    """

    def __init__(
        self,
        model: nn.Module,
        alphabet: TokenAlphabet,
        head: NumericHead | None,
        half_activations: HalfActivations | None = None,
    ) -> None:
        self.model = model
        self.decoder: Callable[..., Any] = decoder_of(model)
        self.head = head
        self.alphabet = alphabet
        self.half_activations = half_activations
        self.device = next(model.parameters()).device

    def logits(self, inputs: Tensor) -> Tensor:
        """Map (B, S) ids to (B, S, classes) float32 logits."""
        # of the layers only: the logarithms of the loss are no factors to be rounded
        with self.half_activations.in_half() if self.half_activations else nullcontext():
            hidden: Tensor = self.decoder(input_ids=inputs, use_cache=False).last_hidden_state
        if self.head is not None:
            restricted: Tensor = self.head(hidden)
            return restricted
        head = head_of(self.model)
        bias = None if head.bias is None else head.bias.to(hidden.dtype)
        # a trained head has float32 weights above a bfloat16 model
        logits = nn.functional.linear(hidden, head.weight.to(hidden.dtype), bias).float()
        return cap(logits, final_softcap_of(self.model))

    def loss_sum(self, batch: Batch) -> Tensor:
        """Return the summed cross-entropy in nats, a scalar on the model's device."""
        classes = batch.targets
        if self.head is not None:
            classes = self.alphabet.classes(batch.targets)
            classes[batch.targets == IGNORED] = IGNORED
        logits = self.logits(torch.from_numpy(batch.inputs).to(self.device))
        targets = torch.from_numpy(classes).to(self.device).flatten()
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), targets, ignore_index=IGNORED, reduction="sum"
        )


@dataclass(frozen=True, eq=False)
class Loaded:
    """A run that is ready for its first step; ``parameters`` are what is trained, by name."""

    plan: Plan
    base: BaseModel
    lora: lora.LoraPlan
    objective: Objective
    parameters: dict[str, nn.Parameter]
    optimizers: list[torch.optim.Optimizer]
    widths: Widths | None
    compiled: bool

    def steps(self, first: int, last: int, ranks: Ranks = ALONE) -> Iterator[StepRecord]:
        """Make the run's steps first … last-1, counted from 0; see `steps`."""
        plan = self.plan
        return steps(
            list(self.parameters.values()),
            self.optimizers,
            self.objective.loss_sum,
            plan.windows.batch,
            plan.learning_rate,
            first=first,
            last=last,
            accumulation=plan.settings.accumulation,
            clip_norm=plan.settings.clip_norm,
            seed=plan.settings.seed if plan.settings.dropout else None,
            ranks=ranks,
        )

    def forecaster(self, *, trained: bool = True) -> LanguageModel:
        """Return the model as validation lets it forecast: ``trained``, at the data's scale."""
        # a whole head that is trained moves on, so its rows are taken anew
        head = self.objective.head or NumericHead(self.base.module, self.base.alphabet)
        codec, scale = self.plan.windows.codec, self.plan.windows.scale
        return LanguageModel(
            self.base,
            head,
            decimals=codec.decimals,
            scale=scale if trained else None,
            max_memory=self.plan.settings.max_memory,
            number_format=codec.number_format,
            widths=self.widths,
        )

    def validate(self, *, trained: bool = True) -> Scoring:
        """Score the model as it is now on the validation part; ``trained`` as in `forecaster`."""
        assert self.plan.part is not None
        with torch.compiler.set_stance("force_eager"):  # shapes change with every forecast
            forecaster = self.forecaster(trained=trained)
            return self.plan.part.score(forecaster, self.objective.loss_sum, self.plan.trained)

    def identity(self) -> dict[str, Any]:
        """Return the facts that must agree for a run to go on."""
        plan, placement, alphabet = self.plan, self.base.placement, self.base.alphabet
        return {
            "settings": deciding_settings(plan.settings),
            "data": plan.dataset.sha256(),
            "split": plan.split.sha256,
            "tokenizer": [*alphabet.ids, alphabet.start],
            "schedule": [plan.n_steps, sorted(plan.validate_at)],
            "base weights": self.base.sha256,
            "device and dtype": [
                placement.device.type,
                str(placement.dtype),
                *(["compiled"] if self.compiled else []),
                *(["activations in float16"] if self.objective.half_activations else []),
            ],
        }

    def changes_since(self, saved: dict[str, Any]) -> list[str]:
        """Return the parts of `identity` that differ, by name; settings one by one."""
        now, before = self.identity(), saved.get("settings", {})
        settings = now.pop("settings")
        changed = [key for key in now if saved.get(key) != now[key]]
        changes = {n: f"{n} ({before.get(n)} then, {v} now)" for n, v in settings.items()}
        return changed + [changes[n] for n in settings if before.get(n) != settings[n]]

    def save_adapter(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write the adapter as it is now, with ``facts`` of the run in its lvlora.json."""
        plan, settings, alphabet = self.plan, self.plan.settings, self.base.alphabet
        source, scale = plan.source, plan.windows.scale
        known = {"bundled": "bundled", "hub": source.location}
        full = settings.train_head == "full"
        content = {
            "lvlora_version": __version__,
            # a folder is found again from any working directory
            "model": known.get(source.kind) or str(Path(source.location).resolve()),
            "model_kind": source.kind,
            "revision": source.revision,
            "settings_sha256": plan.settings_sha256,
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
            "loss": "full" if settings.full_loss else "numeric",
            **facts,
        }
        config = adapters.config_for(self.lora, source.for_peft, full)
        tensors = adapters.adapter_tensors(self.base.module, self.objective.head, full)
        adapters.save(folder, config, tensors, content)


def load_run(plan: Plan) -> Loaded:
    """Open the weights of a planned run, put the updates in, make the optimiser.

    Raises:
        ModelError: the weights are missing or broken.
    """
    settings = plan.settings
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
    if settings.train_head == "full":
        untie_head(base.module)
        output = head_of(base.module)
        output.weight = nn.Parameter(output.weight.detach().float(), requires_grad=True)
    head = None
    if not settings.full_loss:
        head = NumericHead(base.module, base.alphabet, trainable=settings.train_head == "numeric")
    in_half = half_activations.is_wanted(base.placement)
    objective = Objective(
        base.module, base.alphabet, head, HalfActivations(base.module) if in_half else None
    )
    parameters = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
    if head is not None:
        parameters |= {f"head.{n}": p for n, p in head.named_parameters()}
    optimizer = torch.optim.AdamW(
        list(parameters.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    compiled = _compiled(plan, base)
    corrections = None if plan.part is None else widths.of_model(plan.source, base)
    return Loaded(plan, base, updates, objective, parameters, [optimizer], corrections, compiled)


def _compiled(plan: Plan, base: BaseModel) -> bool:
    """Compile the layers of a long run where that can be done, and wherever it is asked for."""
    problem = compile_problem(base.placement.device) if plan.compiles else "a short run"
    if problem is None:
        compile_layers(base.module)
    elif plan.settings.compile == "on":
        raise SettingsError(
            f"--compile on: nothing can be compiled here ({problem})",
            "Install a C++ compiler (g++ or clang++) with Python's headers, or --compile off.",
        )
    return problem is None


def steps(
    parameters: Sequence[nn.Parameter],
    optimizers: Sequence[torch.optim.Optimizer],
    loss_sum: Callable[[Batch], Tensor],
    batch: Callable[[int], Batch],
    learning_rate: Callable[[int], float],
    *,
    first: int,
    last: int,
    accumulation: int = 1,
    clip_norm: float = 1.0,
    seed: int | None = 0,
    ranks: Ranks = ALONE,
) -> Iterator[StepRecord]:
    """Make the steps first … last-1, counted from 0, yielding after each; none is priced yet.

    ``batch`` gives a micro-batch by its number in the run, the same every time. Dropout is drawn
    from (seed, step, rank) alone, so a resumed run draws what the unbroken one would; without a
    seed nothing is drawn. Several processes make one step: each its share of the rows, and what is
    yielded is of the whole.

    Raises:
        NumericalError: a loss or gradient is not finite; the parameters are as before the step.
        ProcessLost: another process is gone; the parameters are as before the step.
    """
    for step in range(first, last):
        begin = time.perf_counter()
        micro = [batch(step * accumulation + i) for i in range(accumulation)]
        n_targets = sum(b.n_targets for b in micro)
        total = torch.zeros((), dtype=torch.float64)
        drawing: AbstractContextManager[None] = nullcontext()
        if seed is not None:
            number = (seed * 1_000_003 + step + (ranks.rank << 48)) % 2**63
            drawing = seeded(number, parameters[0].device)
        with drawing:
            for rows in ranks.share_of(micro):
                loss = loss_sum(rows)
                (loss / n_targets).backward()  # type: ignore[no-untyped-call]
                total += loss.detach().double().cpu()
        total = ranks.all_reduce(parameters, total)
        norm = nn.utils.clip_grad_norm_(parameters, clip_norm if clip_norm > 0 else float("inf"))
        mean, grad_norm = float(total) / n_targets, float(norm)
        if not (math.isfinite(mean) and math.isfinite(grad_norm)):
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            raise NumericalError(
                f"step {step}: the loss is {mean:.4g} and the gradient norm {grad_norm:.4g}; "
                "no step was made",
                "The last saved state is good. Try a smaller --learning-rate or --dtype float32.",
            )
        rate = learning_rate(step)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        yield StepRecord(
            step=step + 1,
            loss=mean,
            learning_rate=rate,
            grad_norm=grad_norm,
            seconds=round(time.perf_counter() - begin, 6),
            tokens=n_targets,
            tokens_padded=sum(b.inputs.size for b in micro) - n_targets,
            shapes=tuple((b.inputs.shape[0], b.inputs.shape[1]) for b in micro),
        )
