"""The same training by lvlora and by what one would write with peft and transformers' Trainer.

    python scripts/compare_peft.py DATA --work FOLDER --model MODEL [--steps 10] [--dtype float32]
        [--batch-size 4] [--seq-len 512] [--rank 8] [--learning-rate 1e-4] [--threads 1]
        [--only lvlora,peft]

MODEL is a folder that transformers loads, or a .gguf file. Both begin with the same adapter, get
the same windows of the same series in the same order, at the same rates, and minimise the
cross-entropy over the whole vocabulary; a third contender is lvlora as it trains by default, with
the loss over the tokens that numbers are written with, which is another number. Each has a process
of its own. Seconds are the processor's on a CPU, which other work on the machine does not add to.
Writes losses.png, table.md and figures.json into FOLDER, and prints the table. A loss
is compared step by step: after a step of another rounding the next loss differs, too, by little.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONTENDERS = ("lvlora", "peft", "lvlora-numeric")
NAMES = {
    "lvlora": "lvlora, loss over the vocabulary",
    "peft": "peft + Trainer",
    "lvlora-numeric": "lvlora as it is by default",
}
_SKIPPED = 1
"""Steps at the beginning that are not timed: memory is had in them."""


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=512)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--targets", default="q_proj,v_proj")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--contender", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Let each contender train in a process of its own, and compare."""
    args = options().parse_args()
    if args.contender:
        print(json.dumps(train(args.contender, args)))
        return
    args.work.mkdir(parents=True, exist_ok=True)
    results = {name: in_a_process(name) for name in args.only.split(",")}
    (args.work / "figures.json").write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    (args.work / "table.md").write_text(text + "\n")
    draw(results, args.work / "losses.png")
    print(text)


def in_a_process(name: str) -> dict[str, Any]:
    """One contender's figures; the first one leaves the adapter that the others begin with."""
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    words = [sys.executable, __file__, *sys.argv[1:], "--contender", name]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **quiet}
    )
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def train(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The losses, seconds and memory of one contender."""
    from lvlora.model.devices import peak_bytes

    plan = planned(args, "numeric" if name == "lvlora-numeric" else "full")
    losses, seconds = (by_peft if name == "peft" else by_lvlora)(plan, args)
    tokens = plan.tokens_per_step
    timed = seconds[_SKIPPED:] or seconds
    return {
        "losses": losses,
        "seconds": seconds,
        "step_seconds": statistics.median(timed),
        "tokens_per_second": tokens / statistics.median(timed),
        "peak_bytes": peak_bytes(plan.model.placement.device),
        "executed": plan.cost.per_step.executed,
        "dtype": str(plan.model.placement.dtype).removeprefix("torch."),
    }


def planned(args: argparse.Namespace, loss: str) -> Any:
    """The run as ``lvlora train`` plans it: windows, rates, prices; no weights are opened."""
    from lvlora.data.files import read_dataset
    from lvlora.train.plan import plan_run
    from lvlora.train.settings import TrainSettings

    settings = TrainSettings(
        data=Path(args.data),
        model=args.model,
        dtype=args.dtype,
        device=args.device,
        threads=args.threads,
        rank=args.rank,
        targets=args.targets,
        batch_size=args.batch_size,
        seq_len=args.seq_len,
        scale_jitter=0.0,
        learning_rate=args.learning_rate,
        max_steps=args.steps,
        loss=loss,
        validation=False,
        compile="off",
    )
    return plan_run(settings, read_dataset(Path(args.data), settings))


def by_lvlora(plan: Any, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """The engine of ``lvlora train``; the adapter as it begins is left for the others."""
    from lvlora.train import loop
    from lvlora.train.loop import load_run

    run = load_run(plan)
    run.objective.half_activations = None  # as peft keeps its layers: in float32
    start = args.work / "start"
    if plan.settings.loss == "full":
        start.mkdir(parents=True, exist_ok=True)
        run.save_adapter(start, {})
    losses, moments = [], [clock(args)]
    for step in loop.steps(
        list(run.parameters.values()),
        run.optimizers,
        run.objective.loss_sum,
        plan.windows.batch,
        plan.learning_rate,
        first=0,
        last=plan.n_steps,
        clip_norm=plan.settings.clip_norm,
    ):
        losses.append(step.loss)
        moments.append(clock(args))
    return losses, [b - a for a, b in itertools.pairwise(moments)]


def clock(args: argparse.Namespace) -> float:
    """Seconds: of this process's threads together on a CPU, of the wall where a GPU works."""
    return time.process_time() / args.threads if args.device == "cpu" else time.perf_counter()


def by_peft(plan: Any, args: argparse.Namespace) -> tuple[list[float], list[float]]:
    """transformers' model, peft's adapter, transformers' Trainer."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

    peak = plan.settings.learning_rate
    folder = model_folder(plan, args.model)
    base: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=plan.model.placement.dtype)
    model = PeftModel.from_pretrained(base, str(args.work / "start"), is_trainable=True)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=peak,
        weight_decay=plan.settings.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: plan.learning_rate(n) / peak)
    losses: list[float] = []
    moments = [clock(args)]

    class InOrder(Trainer):
        """Its batches as they come, and every loss to its last digit: its log has four."""

        def _get_train_sampler(self, *given: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

        def compute_loss(self, *given: Any, **named: Any) -> Any:
            loss = super().compute_loss(*given, **named)
            losses.append(float(loss.detach()))
            return loss

        def training_step(self, *given: Any, **named: Any) -> Any:
            if losses:
                moments.append(clock(args))
            return super().training_step(*given, **named)

    trainer = InOrder(
        model=model,
        args=TrainingArguments(
            output_dir=str(args.work / "trainer"),
            max_steps=plan.n_steps,
            per_device_train_batch_size=plan.settings.batch_size,
            max_grad_norm=plan.settings.clip_norm,
            use_cpu=args.device == "cpu",
            seed=plan.settings.seed,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=examples(plan),
        optimizers=(optimizer, schedule),
    )
    moments[0] = clock(args)
    trainer.train()
    moments.append(clock(args))
    return losses, [b - a for a, b in itertools.pairwise(moments)]


def examples(plan: Any) -> list[dict[str, Any]]:
    """Each row of the run as transformers wants it: labels are shifted there."""
    import numpy as np

    rows = []
    for index in range(plan.n_steps):
        batch = plan.windows.batch(index)
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            last = targets[-1] if targets[-1] >= 0 else inputs[-1]
            ids = np.concatenate([inputs, [last]])
            # the first token is nobody's target
            rows.append({"input_ids": ids, "labels": np.concatenate([[-100], targets])})
    return rows


def model_folder(plan: Any, model: str) -> str:
    """A folder that transformers loads."""
    from lvlora.model.gguf import converted

    return str(converted(Path(model))) if plan.source.kind == "gguf" else model


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row a contender, as Markdown."""
    lines = [
        "| | first loss | last loss | largest difference of a loss | seconds a step | tokens/s | "
        "memory, GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = results.get("lvlora")
    for name, figures in results.items():
        losses = figures["losses"]
        difference = "–"
        if ours is not None and name == "peft":
            gaps = [abs(a - b) for a, b in zip(losses, ours["losses"], strict=True)]
            difference = f"{max(gaps):.1e}"
        lines.append(
            f"| {NAMES[name]}, {figures['dtype']} | {losses[0]:.4f} | {losses[-1]:.4f} | "
            f"{difference} | {figures['step_seconds']:.2f} | {figures['tokens_per_second']:.0f} | "
            f"{figures['peak_bytes'] / 2**30:.2f} |"
        )
    return "\n".join(lines)


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """The losses over each other, and how far apart they are."""
    from lvlora.report.drawing import style

    with style.look():
        figure = style.new_figure(height=4.6)
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        for index, (name, figures) in enumerate(results.items()):
            steps = range(1, len(figures["losses"]) + 1)
            dashed = "--" if name == "peft" else "-"
            above.plot(
                steps,
                figures["losses"],
                dashed,
                color=style.colour(index),
                label=NAMES[name],
            )
        above.set_ylabel("loss, nats a token")
        if {"lvlora", "peft"} <= results.keys():
            pairs = zip(results["peft"]["losses"], results["lvlora"]["losses"], strict=True)
            gaps = [a - b for a, b in pairs]
            below.plot(range(1, len(gaps) + 1), gaps, color=style.colour(1))
        below.set_ylabel("peft - lvlora")
        below.set_xlabel("step")
        style.legend_below(figure, above.get_legend_handles_labels()[0])
    style.save(figure, path)


if __name__ == "__main__":
    main()
