"""A metric's words in tables and on axes, written beside its field and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from lvlora.answers import Shape


@dataclass(frozen=True)
class Metric:
    """How people read a metric, written beside its field: ``mae: Annotated[Number, Metric(…)]``.

    Attributes:
        head: heading of a column of a table.
        title: the same on an axis of a figure.
        unit: of its numbers, where it is neither the data's nor none.
        more_is_better: for a score; an error is the better the smaller it is.
        wide: only for tables that have room, because others say nearly the same.
    """

    head: str
    title: str
    unit: str = ""
    more_is_better: bool = False
    wide: bool = False

    @property
    def head_with_unit(self) -> str:
        """As "phase, periods"."""
        return f"{self.head}, {self.unit}" if self.unit else self.head

    @property
    def axis(self) -> str:
        """As "phase error (periods)"."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def metrics_of(shape: type[Shape]) -> dict[str, Metric]:
    """The metrics among a shape's fields, in their order."""
    return {
        name: said
        for name, field in shape.model_fields.items()
        for said in field.metadata
        if isinstance(said, Metric)
    }
