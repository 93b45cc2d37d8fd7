"""Write a model's folder with some of its layers only: a cheaper model to tune.

    python scripts/keep_layers.py MODEL OUT --keep 0-5,18-23

MODEL is a folder of one model (config.json, safetensors, tokenizer); OUT gets the same in bfloat16
with the layers named, in order, under new numbers, and the whole tokenizer, embedding and head.
What is left has forgotten a lot and has to be tuned. What came of it:
docs/notes/log/2026-11-results.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lvlora.model.lora import parse_layers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--keep", required=True, help="layers from 0, e.g. 0-5,18-23")
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.bfloat16)
    keep = parse_layers(args.keep, len(model.model.layers))
    assert keep is not None
    model.model.layers = torch.nn.ModuleList(model.model.layers[i] for i in keep)
    model.config.num_hidden_layers = len(keep)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[i] for i in keep]
    model.save_pretrained(args.out)
    AutoTokenizer.from_pretrained(args.model).save_pretrained(args.out)


if __name__ == "__main__":
    main()
