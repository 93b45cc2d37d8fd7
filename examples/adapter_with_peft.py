"""Use a run's adapter without lvlora's model code: plain transformers and peft.

    python examples/adapter_with_peft.py runs/NAME

The folder runs/NAME/adapter is a PEFT adapter as it is. What transformers does not know is the
text: numbers divided by the scale in lvlora.json, with its number of decimals, variables joined by
"," and every step ended by ";". This program writes that text by hand, lets `generate` go on
with it, and reads the numbers back. Nothing here keeps the model to the grammar: lvlora does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import lvlora
from lvlora.model.catalogue import resolve

FILE = Path(__file__).parent / "trajectory.csv"


def main(run: str, steps: int = 5) -> np.ndarray:
    """Go on with examples/trajectory.csv; returns the steps that were written, (steps, 2)."""
    adapter = lvlora.read_adapter(run)  # config: adapter_config.json, facts: lvlora.json
    base = resolve(adapter.facts["model"]).location  # a folder, or a hub id
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(adapter.folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(base)

    (series,) = lvlora.read(FILE)
    decimals, scale = adapter.facts["decimals"], adapter.facts["scale"]
    divisors, offsets = np.array(scale["divisors"]), np.array(scale["offsets"])  # mostly zeros
    # trained with --number-format digits it reads 150 for 1.50
    digits = adapter.facts.get("number_format") == "digits"
    unit, places = (10**-decimals, 0) if digits else (1, decimals)
    text = "".join(
        ",".join(f"{number:.{places}f}" for number in row) + ";"
        for row in (series.values - offsets) / divisors / unit
    )
    *_, start = adapter.facts["alphabet"]  # the token that every training text began with
    ids = torch.tensor([[start, *tokenizer(text, add_special_tokens=False).input_ids]])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12 * steps,
        do_sample=False,
        pad_token_id=start,
    )
    written = "".join(tokenizer.decode(token) for token in out[0, ids.shape[1] :])
    print(f"…{text[-24:]} goes on: {written}")
    whole = written.split(";")[:-1][:steps]  # what follows the last ";" is no whole step
    numbers = np.array([[float(number) for number in step.split(",")] for step in whole])
    values = numbers * unit * divisors + offsets
    print(values)
    return values


if __name__ == "__main__":
    main(sys.argv[1])
