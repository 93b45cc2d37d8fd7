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
    Rules,
    Step,
    StepOnly,
    Variant,
)
from lvlora.flops.catalogue import find_shape
from lvlora.flops.executed import Head
from lvlora.flops.item import total
from lvlora.flops.shape import Lora, ModelShape

if TYPE_CHECKING:
    from lvlora.flops.settings import FlopsSettings

VARIABLE = (
    "rank",
    "targets",
    "batch-size",
    "seq-len",
    "loss",
    "train-head",
    "context",
    "new-tokens",
    "model",
)
"""Settings that `vary` can compare values of."""


def account(settings: FlopsSettings, shape: ModelShape) -> FlopsAccount:
    """Return the costs of the settings' step and forecast, itemised, in both conventions.

    Args:
        settings: of `lvlora flops`.
        shape: of the model.

    Raises:
        SettingsError: an unknown target.
    """
    lora = Lora.of(settings.rank, settings.targets)
    head = Head.of(shape, settings.loss, settings.train_head, shape.alphabet_rows)
    b, s, n, m = settings.batch_size, settings.seq_len, settings.context, settings.new_tokens
    rules = coursework.training_step(shape, b, s, lora)
    runs = executed.training_step(shape, b, s, lora=lora, head=head)
    full = executed.full_fine_tuning_step(shape, b, s)
    answer = FlopsAccount(
        model=shape.name,
        trainable_parameters=Trained(shape, lora, head).n_parameters,
        coursework=Rules(
            forward=total(rules, "forward"),
            training_step=total(rules),
            items=rules,
            prefill=total(coursework.prefill(shape, 1, n, lora)),
            decode=total(coursework.decode(shape, 1, n, m, lora)),
        ),
        executed=Executed(
            forward=total(runs, "forward"),
            backward=total(runs, "backward_input", "backward_weight"),
            training_step=total(runs),
            items=runs,
            prefill=total(executed.prefill(shape, 1, n, head_rows=shape.alphabet_rows, lora=lora)),
            decode=total(executed.decode(shape, 1, n, m, head_rows=shape.alphabet_rows, lora=lora)),
        ),
        full_fine_tuning=FullFineTuning(
            trainable_parameters=shape.parameter_count()["total"],
            coursework=StepOnly(training_step=total(coursework.training_step(shape, b, s))),
            executed=Step(
                forward=total(full, "forward"),
                backward=total(full, "backward_input", "backward_weight"),
                training_step=total(full),
            ),
        ),
    )
    if not isinstance(settings.budget, int):
        return answer
    return answer.model_copy(update={"fits": _fits(settings.budget, settings, answer)})


def vary(
    settings: FlopsSettings,
    shape: ModelShape,
    *,
    shape_of: Callable[[str], ModelShape] = find_shape,
) -> FlopsVary:
    """The same account for several values of one setting: rows to compare.

    Several targets of one value are joined by +: ``targets=q_proj+v_proj,all-linear``.

    Args:
        shape_of: a model's shape by its name, for ``model=…``.

    Raises:
        SettingsError: not of the form NAME=VALUE,VALUE, or a value that the setting refuses.
    """
    name, values = _parse_vary(settings.vary or "")
    variants = []
    for value in values:
        its_shape = shape_of(value) if name == "model" else shape
        one = account(_changed(settings, name, value), its_shape)
        variants.append(
            Variant(
                setting=name,
                value=value,
                trainable_parameters=one.trainable_parameters,
                coursework=_costs(one.coursework),
                executed=_costs(one.executed),
                fits=one.fits,
            )
        )
    return FlopsVary(model=shape.name, vary=variants)


def _costs(convention: Rules) -> Costs:
    return Costs(**{name: getattr(convention, name) for name in Costs.model_fields})


def _fits(budget: int, settings: FlopsSettings, answer: FlopsAccount) -> Fits:
    """Return how much fits into a budget: steps and their tokens, or forecasts."""
    costs = answer.executed if settings.convention == "executed" else answer.coursework
    steps = budget // costs.training_step
    return Fits(
        budget=budget,
        convention=settings.convention,
        steps=steps,
        tokens=steps * settings.batch_size * settings.seq_len,
        forecasts=budget // (costs.prefill + costs.decode),
        share_of_a_step=costs.training_step / budget,
    )


def _parse_vary(text: str) -> tuple[str, list[str]]:
    name, _, listed = text.partition("=")
    name = name.strip().replace("_", "-")
    values = [value.strip() for value in listed.split(",") if value.strip()]
    if name not in VARIABLE or not values:
        raise SettingsError(
            f"--vary: {text!r} is not a setting with values",
            f"{meant(name, VARIABLE)}For example rank=2,4,8. Settings: {', '.join(VARIABLE)}.",
        )
    return name, values


def _changed(settings: FlopsSettings, name: str, value: str) -> FlopsSettings:
    field = name.replace("-", "_")
    new = value.replace("+", ",") if field == "targets" else value
    try:
        return type(settings).model_validate({**settings.model_dump(), field: new})
    except ValueError:
        raise SettingsError(
            f"--vary: {value!r} is not possible for {name}", "lvlora flops --help has its limits."
        ) from None


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
        shape, lora, head = self.shape, self.lora, self.head
        return sum(
            (
                Price(
                    executed=total(executed.training_step(shape, b, s, lora=lora, head=head)),
                    coursework=total(coursework.training_step(shape, b, s, lora)),
                )
                for b, s in shapes
            ),
            NOTHING,
        )

    def validation_batch(self, batch: int, seq_len: int) -> Price:
        """The loss of one batch without gradients: a forward pass with logits everywhere."""
        shape, lora, positions = self.shape, self.lora, batch * seq_len
        return Price(
            executed=total(
                executed.forward_call(
                    shape,
                    batch,
                    seq_len,
                    head_positions=positions,
                    head_rows=self.head.rows,
                    lora=lora,
                )
            ),
            coursework=total(coursework.model_call(shape, batch, seq_len, lora=lora)),
        )
