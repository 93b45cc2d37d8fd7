"""What an evaluation does not show, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvlora.report.drawing.errors import is_model


def limits_of(record: Mapping[str, Any]) -> list[str]:
    """A sentence or two for each limit that holds for this evaluation."""
    protocol = record["protocol"]
    models = [f for f in record["forecasters"] if is_model(f)]
    limits = []
    if protocol["series"] < 100:
        limits.append(
            f"Only {protocol['series']} series were scored: differences between forecasters may "
            "be chance."
        )
    if protocol["split"] == "validation":
        limits.append(
            "Training chose its best step, and a sweep its best settings, on the validation part: "
            "the error of a tuned model is a little too good here. lvlora evaluate --split test is "
            "for the final table."
        )
    if protocol["split"] in ("train", "all"):
        limits.append("Series that a model was trained on may be among those that are scored.")
    if any(f["kind"] == "floor" for f in record["forecasters"]):
        limits.append(
            "The rounding floor is what writing numbers with so few decimals costs a forecaster "
            "that writes and knows the future; who does not write may be better."
        )
    if any("fit" in f["name"] for f in record["forecasters"] if f["kind"] == "rival"):
        limits.append(
            "The fitted equations know the family of systems that such data come from; on data of "
            "another origin they lose that advantage. Every rival's forecast is kept within the "
            "range of its history, widened by its width on both sides."
        )
    if models:
        limits.append(
            "Intervals tell how much the choice of series matters. What another training seed "
            "would do is not in them."
        )
    for model in models:
        if model["nll_impossible"]:
            rest = model["nll_possible"]
            limits.append(
                f"The grammar of {model['name']} cannot write {model['nll_impossible']:,} of the "
                "true values: its NLL/D is infinite"
                + (f"; without them it is {rest:.3g}." if rest is not None else ".")
            )
    limits.append(
        "CRPS of a forecaster without samples is its absolute error: it claims to be certain."
    )
    limits.append(
        "FLOPs are exact counts of the language models' matrix products in two conventions; they "
        "measure neither energy nor time. Seconds depend on the machine and on what else it did."
    )
    return limits
