"""Training side by side: lvlora against peft, each contender in a process of its own.

usage: python benchmarks/train.py MODEL [--batch 4] [--seq-len 512] [--steps 4] [--rounds 1]
                                  [--only lvlora,peft-bfloat16] [--out FILE.json]

MODEL is a folder that transformers loads (config.json, *.safetensors, tokenizer). All contenders
get the same token windows of simulated series, LoRA r = 8 on q_proj and v_proj, and AdamW. The
first step of each is not counted (allocation, compilation; it is printed). Prints seconds a step
(median), peak resident memory, tokens a second, ratios (with the first of lvlora's contenders that
ran; of the FLOPs of a step by our formula and by PyTorch's counter), and the share of the measured
matrix-product peak. With --steps 0 the first step is all.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTENDERS = (
    *("lvlora", "lvlora-compiled", "lvlora-float32", "lvlora-float32-full"),
    *("peft-bfloat16", "peft-float32"),
)
LEARNING_RATE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=1, help="how often each contender is started")
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(run(options.contender, options)))
        return
    names = options.only.split(",")
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            results[name].append(in_a_process(name, options))
            print(f"{name}: {json.dumps(results[name][-1])}", file=sys.stderr)
    print(table(results))
    if options.out:
        options.out.write_text(json.dumps(results, indent=1))


def in_a_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One contender's figures, from a fresh process."""
    done = subprocess.run(
        [
            sys.executable,
            __file__,
            str(options.model),
            "--contender",
            name,
            "--batch",
            str(options.batch),
            "--seq-len",
            str(options.seq_len),
            "--steps",
            str(options.steps),
            "--device",
            options.device,
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"},
    )
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Medians over the rounds, and everything as a ratio to lvlora."""
    lines = [
        f"{'contender':18} {'s/step':>8} {'first':>7} {'tokens/s':>9} {'peak GiB':>9} "
        f"{'speed-up':>9} {'memory':>7} {'FLOPs':>7} {'of peak':>8}"
    ]
    ours = next((n for n in results if n.startswith("lvlora")), None)
    for name, rounds in results.items():
        seconds = statistics.median(r["seconds"] for r in rounds)
        memory = statistics.median(r["peak_bytes"] for r in rounds)
        speed_up = memory_ratio = work = share = ""
        if ours and name != ours:
            own = results[ours]
            speed_up = f"{seconds / statistics.median(r['seconds'] for r in own):.2f} x"
            memory_ratio = f"{statistics.median(r['peak_bytes'] for r in own) / memory:.2f} x"
        if ours and name != ours:
            work = f"{results[ours][0]['flops'] / rounds[0]['flops']:.2f} x"
        if "matrix_peak" in rounds[0]:
            peak = statistics.median(r["matrix_peak"] for r in rounds)
            share = f"{rounds[0]['flops'] / seconds / peak:.1%}"
        lines.append(
            f"{name:18} {seconds:8.2f} {statistics.median(r['first'] for r in rounds):7.1f} "
            f"{rounds[0]['tokens'] / seconds:9.0f} {memory / 2**30:9.2f} "
            f"{speed_up:>9} {memory_ratio:>7} {work:>7} {share:>8}"
        )
    return "\n".join(lines)


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train for some steps in this process."""
    import torch

    batches = token_windows(options)
    step, facts = (lvlora_step if name.startswith("lvlora") else peft_step)(name, options)
    seconds, losses = [], []
    for batch in batches:
        begin = time.perf_counter()
        losses.append(step(batch))
        seconds.append(time.perf_counter() - begin)
    if options.device == "cuda":
        peak = int(torch.cuda.max_memory_allocated())
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "seconds": statistics.median(seconds[1:] or seconds),
        "all_seconds": seconds,
        "first": seconds[0],
        "peak_bytes": peak,
        "tokens": options.batch * options.seq_len,
        "losses": losses,
        **facts(),
    }


def token_windows(options: argparse.Namespace) -> list[Any]:
    """The same windows for everybody: simulated series as text."""
    import numpy as np

    from lvlora.data.dataset import Dataset, Series
    from lvlora.model.catalogue import resolve
    from lvlora.model.loading import alphabet_of, load_tokenizer
    from lvlora.text.codec import Codec
    from lvlora.text.scaling import of_dataset
    from lvlora.text.windows import Windows

    random = np.random.default_rng(0)
    t = np.arange(400) * 0.5
    series = [
        Series(str(i), t, np.stack([1.5 + np.sin(t * f + p), 1.5 + np.cos(t * f + p)], 1))
        for i, (f, p) in enumerate(random.uniform(0.2, 1.0, (64, 2)))
    ]
    dataset = Dataset(tuple(series), ("prey", "predator"), "benchmark")
    alphabet = alphabet_of(load_tokenizer(resolve(str(options.model))), "model")
    windows = Windows(
        dataset,
        of_dataset(dataset),
        Codec(2, 2),
        alphabet,
        seq_len=options.seq_len,
        batch_size=options.batch,
        seed=0,
    )
    return [windows.batch(i) for i in range(options.steps + 1)]


Step = Callable[[Any], float]


def lvlora_step(
    name: str, options: argparse.Namespace
) -> tuple[Step, Callable[[], dict[str, Any]]]:
    """Our engine, by the functions that `lvlora train` calls."""
    import torch

    from lvlora.flops import answers, executed
    from lvlora.flops.shape import Lora
    from lvlora.model import devices, lora
    from lvlora.model.catalogue import resolve
    from lvlora.model.head import NumericHead
    from lvlora.model.loading import load
    from lvlora.train import half_activations
    from lvlora.train.loop import Objective, compile_layers, steps

    dtype = "float32" if name.startswith("lvlora-float32") else "auto"
    base = load(resolve(str(options.model)), devices.choose(options.device, dtype))
    plan = lora.LoraPlan()
    lora.inject(base.module, plan)
    base.module.train()
    if name == "lvlora-compiled":
        compile_layers(base.module)
    in_half = name != "lvlora-float32-full" and half_activations.is_wanted(base.placement)
    objective = Objective(
        base.module,
        base.alphabet,
        NumericHead(base.module, base.alphabet),
        half_activations.HalfActivations(base.module) if in_half else None,
    )
    parameters = [p for p in base.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE)

    def step(batch: Any) -> float:
        done = next(
            steps(
                parameters,
                [optimizer],
                objective.loss_sum,
                lambda _: batch,
                lambda _: LEARNING_RATE,
                first=0,
                last=1,
            )
        )
        return done.loss

    def facts() -> dict[str, Any]:
        head = executed.Head(len(base.alphabet.ids))
        priced = Lora.of(plan.rank, plan.targets, None)
        flops = answers.total(
            executed.training_step(
                base.shape, options.batch, options.seq_len, lora=priced, head=head
            )
        )
        dtype = base.placement.dtype
        peak = max(
            2.0 * n**3 / devices.product_seconds(dtype, n, options.device)
            for n in (1024, 2048, 4096)
        )
        return {"flops": flops, "matrix_peak": peak, "dtype": str(dtype)}

    return step, facts


def peft_step(name: str, options: argparse.Namespace) -> tuple[Step, Callable[[], dict[str, Any]]]:
    """What a user of peft writes: the model, get_peft_model, model(labels=…).loss, AdamW."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from lvlora.train.measurement import count

    dtype = getattr(torch, name.removeprefix("peft-"))
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype)
    model = get_peft_model(
        model.to(options.device),
        LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"),
    )
    model.train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE
    )

    def step(batch: Any) -> float:
        # the row's last target is the label after its last input: transformers shifts by itself
        ids = torch.from_numpy(batch.inputs).to(options.device)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss)

    def facts() -> dict[str, Any]:
        ids = torch.zeros((1, options.seq_len), dtype=torch.long, device=options.device)
        # every product has the rows of a batch side by side
        flops = options.batch * count(lambda: model(input_ids=ids, labels=ids).loss.backward())
        return {"flops": flops, "dtype": str(dtype)}

    return step, facts


if __name__ == "__main__":
    main()
