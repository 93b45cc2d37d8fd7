"""LoRA on linear layers: which of them, and in which layers of the model."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from lvlora.errors import SettingsError, meant
from lvlora.flops.shape import LINEARS, ModelShape

ALL_LINEAR = "all-linear"


def resolve_targets(targets: Iterable[str]) -> tuple[str, ...]:
    """The linear layers meant by these names, in the order they run, each once.

    Raises:
        SettingsError: a name that no layer has.
    """
    wanted = set(targets)
    unknown = sorted(wanted - set(LINEARS) - {ALL_LINEAR})
    if unknown or not wanted:
        guess = meant(unknown[0], (*LINEARS, ALL_LINEAR)) if unknown else ""
        raise SettingsError(
            f"--targets {unknown[0]}: the model has no such linear layer"
            if unknown
            else "--targets: empty",
            f"{guess}Choose from {', '.join(LINEARS)}, or {ALL_LINEAR}.",
        )
    return LINEARS if ALL_LINEAR in wanted else tuple(n for n in LINEARS if n in wanted)


@dataclass(frozen=True)
class Lora:
    """The LoRA of a model; ``Lora()`` is none.

    Attributes:
        rank: r; 0 is the plain model.
        targets: names of linear layers, in the order they run.
        layers: transformer layers that have it; None is all.
    """

    rank: int = 0
    targets: tuple[str, ...] = ()
    layers: frozenset[int] | None = None

    @classmethod
    def of(
        cls, rank: int, targets: Iterable[str] = (), layers: Collection[int] | None = None
    ) -> Lora:
        """Return a LoRA from names of a user (all-linear included); rank 0 gives none."""
        if rank == 0:
            return cls()
        return cls(rank, resolve_targets(targets), None if layers is None else frozenset(layers))

    def on(self, linear: str, layer: int) -> bool:
        """Whether this linear layer of this transformer layer has an update."""
        return self.rank > 0 and linear in self.targets and self.in_layer(layer)

    def in_layer(self, layer: int) -> bool:
        """Whether this transformer layer has any update."""
        return self.rank > 0 and (self.layers is None or layer in self.layers)

    def n_layers(self, shape: ModelShape) -> int:
        """How many of the model's layers have it."""
        return sum(self.in_layer(layer) for layer in range(shape.layers))
