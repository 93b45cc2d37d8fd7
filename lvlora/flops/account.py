"""Costs of a step and a forecast, itemised in both conventions, and what a budget buys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lvlora.answers import NOTHING, Price
from lvlora.errors import SettingsError, meant
from lvlora.flops import coursework, executed
from lvlora.flops.answers import (
    Costs,
    Executed,
    Fits,
    FlopsAccount,
    FlopsVary,
    FullFineTuning,
    Phase,
    Rules,
    Step,
    StepOnly,
    Variant,
    total,
)
from lvlora.flops.executed import Head
from lvlora.flops.shape import Lora, ModelShape

if TYPE_CHECKING:
    from lvlora.flops.settings import FlopsSettings

_BACKWARD: tuple[Phase, Phase] = ("backward_input", "backward_weight")
VARIABLE = (
    *("rank", "targets", "batch-size", "seq-len", "loss", "train-head", "context", "new-tokens"),
    "model",
)
"""Settings that `vary` can compare values of."""


def account(settings: FlopsSettings, shape: ModelShape) -> FlopsAccount:
    """Return the costs of the settings' step and forecast, itemised, in both conventions.

    Raises:
        SettingsError: an unknown target.
    """
    lora = Lora.of(settings.rank, settings.targets)
    head = Head.of(shape, settings.loss, settings.train_head)
    b, s, n, m = settings.batch_size, settings.seq_len, settings.context, settings.new_tokens
    rules = coursework.training_step(shape, b, s, lora)
    runs = executed.training_step(shape, b, s, lora=lora, head=head)
    full = executed.full_fine_tuning_step(shape, b, s)
    read = executed.forward_call(
        shape, 1, n, head_positions=1, head_rows=shape.alphabet_rows, lora=lora
    )
    answer = FlopsAccount(
        model=shape.name,
        trainable_parameters=Trained(shape, lora, head).n_parameters,
        coursework=Rules(
            forward=total(rules, "forward"),
            training_step=total(rules),
            items=rules,
            prefill=total(coursework.model_call(shape, 1, n, logit_rows=1, lora=lora)),
            decode=total(coursework.decode(shape, 1, n, m, lora)),
        ),
        executed=Executed(
            forward=total(runs, "forward"),
            backward=total(runs, *_BACKWARD),
            training_step=total(runs),
            items=runs,
            prefill=total(read),
            decode=total(executed.decode(shape, 1, n, m, lora)),
        ),
        full_fine_tuning=FullFineTuning(
            trainable_parameters=shape.parameter_count()["total"],
            coursework=StepOnly(training_step=total(coursework.training_step(shape, b, s))),
            executed=Step(
                forward=total(full, "forward"),
                backward=total(full, *_BACKWARD),
                training_step=total(full),
            ),
        ),
    )
    if not isinstance(settings.budget, int):
        return answer
    costs = answer.executed if settings.convention == "executed" else answer.coursework
    steps = settings.budget // costs.training_step
    fits = Fits(
        budget=settings.budget,
        convention=settings.convention,
        steps=steps,
        tokens=steps * b * s,
        forecasts=settings.budget // (costs.prefill + costs.decode),
        share_of_a_step=costs.training_step / settings.budget,
    )
    return answer.model_copy(update={"fits": fits})


def vary(
    settings: FlopsSettings, shape: ModelShape, shape_of: Callable[[str], ModelShape]
) -> FlopsVary:
    """The same account for several values of one setting: rows to compare.

    Several targets of one value are joined by +: ``targets=q_proj+v_proj,all-linear``.

    Args:
        shape_of: a model's shape by its name, for ``model=…``.

    Raises:
        SettingsError: not of the form NAME=VALUE,VALUE, or a value that the setting refuses.
    """
    text = settings.vary or ""
    name, _, listed = text.partition("=")
    name = name.strip().replace("_", "-")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if name not in VARIABLE or not values:
        raise SettingsError(
            f"--vary: {text!r} is not a setting with values",
            f"{meant(name, VARIABLE)}For example rank=2,4,8. Settings: {', '.join(VARIABLE)}.",
        )
    variants = []
    for value in values:
        changed = {name.replace("-", "_"): value.replace("+", ",") if name == "targets" else value}
        try:
            its_settings = type(settings).model_validate(settings.model_dump() | changed)
        except ValueError:
            raise SettingsError(
                f"--vary: {value!r} is not possible for {name}",
                "lvlora flops --help has its limits.",
            ) from None
        one = account(its_settings, shape_of(value) if name == "model" else shape)
        coursework_costs, executed_costs = (
            Costs(**{field: getattr(convention, field) for field in Costs.model_fields})
            for convention in (one.coursework, one.executed)
        )
        variants.append(
            Variant(
                setting=name,
                value=value,
                trainable_parameters=one.trainable_parameters,
                coursework=coursework_costs,
                executed=executed_costs,
                fits=one.fits,
            )
        )
    return FlopsVary(model=shape.name, vary=variants)


@dataclass(frozen=True)
class Trained:
    """A model's shape and what is trained of it: all that the price of its training needs."""

    shape: ModelShape
    lora: Lora
    head: Head

    @property
    def n_parameters(self) -> int:
        """How many values are trained: r (in + out) for each update, and rows of the head."""
        sizes = self.shape.linear_layers()
        in_a_layer = sum(self.lora.rank * sum(sizes[name]) for name in self.lora.targets)
        head = self.head.trained_rows * self.shape.hidden
        return self.lora.n_layers(self.shape) * in_a_layer + head

    def step(self, shapes: Iterable[tuple[int, int]]) -> Price:
        """One optimiser step: forward and backward of its micro-batches, padding paid.

        Args:
            shapes: (B, S) of each micro-batch as it runs.
        """
        price, lora = NOTHING, self.lora
        for b, s in shapes:
            runs = executed.training_step(self.shape, b, s, lora=lora, head=self.head)
            rules = coursework.training_step(self.shape, b, s, lora)
            price += Price(total(runs), total(rules))
        return price

    def validation_batch(self, batch: int, seq_len: int) -> Price:
        """The loss of one batch without gradients: a forward pass with logits everywhere."""
        shape, lora, positions = self.shape, self.lora, batch * seq_len
        runs = executed.forward_call(
            shape, batch, seq_len, head_positions=positions, head_rows=self.head.rows, lora=lora
        )
        return Price(total(runs), total(coursework.model_call(shape, batch, seq_len, lora=lora)))
