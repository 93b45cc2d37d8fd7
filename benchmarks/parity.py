"""Is a fast step the same step? Losses and gradients against peft in float32.

usage: python benchmarks/parity.py MODEL [--steps 50] [--batch 2] [--seq-len 256] [--out FILE.json]

Same data, same initial A and B, same loss (cross-entropy over the numeric alphabet), same AdamW:
peft in float32 (the reference), peft with the base in bfloat16 (what bfloat16 alone changes),
lvlora in float32 (is the computation the same?), the same remembering its layers in float16,
as a training on a processor does, and lvlora as it trains here. Prints the relative
error of the gradients of all A and of all B at the first step (B drawn, not zero, so that A has a
gradient), and how far the loss curves are apart (root mean square and largest difference, nats a
token).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from train import LEARNING_RATE, token_windows

from lvlora.model import devices, lora
from lvlora.model.catalogue import resolve
from lvlora.model.head import NumericHead
from lvlora.model.loading import load
from lvlora.text.windows import IGNORED, Batch
from lvlora.train.half_activations import HalfActivations
from lvlora.train.loop import Objective

Loss = Callable[[Batch], torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    batches = token_windows(options)[: options.steps]
    initial = _initial(options.model)
    differences = {
        "peft float32": train(*_peft(options.model, torch.float32, initial), batches),
        "peft bfloat16": train(*_peft(options.model, torch.bfloat16, initial), batches),
        "lvlora float32": train(*_lvlora(options.model, initial, "float32"), batches),
        "lvlora float32, half": train(
            *_lvlora(options.model, initial, "float32", in_half=True), batches
        ),
        "lvlora": train(*_lvlora(options.model, initial, "auto"), batches),
    }
    gradients, losses = differences["peft float32"]
    result: dict[str, Any] = {"losses": {name: curve for name, (_, curve) in differences.items()}}
    print(
        f"{'against peft float32':22} {'grad A':>8} {'grad B':>8} {'loss rms':>9} {'loss max':>9}"
    )
    for name, (other, curve) in list(differences.items())[1:]:
        errors = {
            kind: float(
                torch.cat(
                    [(other[n] - g).flatten() for n, g in gradients.items() if kind in n]
                ).norm()
                / torch.cat([g.flatten() for n, g in gradients.items() if kind in n]).norm()
            )
            for kind in ("lora_a", "lora_b")
        }
        apart = torch.tensor(curve) - torch.tensor(losses)
        rms, most = float(apart.square().mean().sqrt()), float(apart.abs().max())
        result[name] = {**errors, "loss_rms": rms, "loss_max": most}
        print(f"{name:22} {errors['lora_a']:8.2%} {errors['lora_b']:8.2%} {rms:9.5f} {most:9.5f}")
    print(f"loss of peft float32: {losses[0]:.4f} at first, {losses[-1]:.4f} at last")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1))


Tensors = dict[str, torch.Tensor]


def _initial(path: Path) -> Tensors:
    """A as lvlora draws it, and a small B, by lvlora's parameter names."""
    base = load(resolve(str(path)), devices.choose("cpu"))
    lora.inject(base.module, lora.LoraPlan())
    generator = torch.Generator().manual_seed(1)
    return {
        n: p.detach().clone() if "lora_a" in n else 0.01 * torch.randn(p.shape, generator=generator)
        for n, p in base.module.named_parameters()
        if "lora_" in n
    }


def _lvlora(
    path: Path, initial: Tensors, dtype: str, *, in_half: bool = False
) -> tuple[Tensors, Loss]:
    base = load(resolve(str(path)), devices.choose("cpu", dtype))
    lora.inject(base.module, lora.LoraPlan())
    base.module.train()
    parameters = {n: p for n, p in base.module.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, value in initial.items():
            parameters[name].copy_(value)
    objective = Objective(
        base.module,
        base.alphabet,
        NumericHead(base.module, base.alphabet),
        HalfActivations(base.module) if in_half else None,
    )
    return parameters, objective.loss_sum


def _peft(path: Path, dtype: torch.dtype, initial: Tensors) -> tuple[Tensors, Loss]:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from lvlora.model.catalogue import resolve
    from lvlora.model.loading import alphabet_of, load_tokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    model = get_peft_model(
        model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
    )
    model.train()
    parameters = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            name = name.removeprefix("base_model.model.").replace(".default.weight", "")
            name = name.replace("lora_A", "lora_a").replace("lora_B", "lora_b")
            parameter.data = initial[name].clone().float()
            parameters[name] = parameter
    alphabet = alphabet_of(load_tokenizer(resolve(str(path))), "model")
    ids = list(alphabet.ids)

    def loss(batch: Batch) -> torch.Tensor:
        logits = model(input_ids=torch.from_numpy(batch.inputs)).logits[..., ids].float()
        targets = alphabet.classes(batch.targets)
        targets[batch.targets == IGNORED] = IGNORED
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1),
            torch.from_numpy(targets).flatten(),
            reduction="sum",
            ignore_index=IGNORED,
        )

    return parameters, loss


def train(parameters: Tensors, loss: Loss, batches: list[Batch]) -> tuple[Tensors, list[float]]:
    """(gradients at the first step, losses in nats a token)."""
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=LEARNING_RATE)
    first: Tensors = {}
    curve = []
    for batch in batches:
        mean = loss(batch) / batch.n_targets
        mean.backward()
        first = first or {n: p.grad.clone() for n, p in parameters.items() if p.grad is not None}
        optimizer.step()
        optimizer.zero_grad()
        curve.append(float(mean.detach()))
    return first, curve


if __name__ == "__main__":
    main()
