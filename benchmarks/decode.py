"""Forecasting side by side: lvlora against transformers' generate, each in a process of its own.

usage: python benchmarks/decode.py MODEL [--series 32] [--history 500] [--tokens 500] [--samples 0]
                                   [--only lvlora,generate,generate-static] [--out FILE.json]

MODEL is a folder that transformers loads. All contenders continue the same histories (simulated
series as text, two variables, two decimals: ten tokens a step) greedily by as many tokens, or, with
--samples N, draw N futures of each. `generate` gets the whole batch at once, bfloat16 where the
processor has it, SDPA attention, and its dynamic or its static cache; its text need not be a valid
series. Loading is not counted. Prints seconds, of which reading the histories, peak resident
memory, tokens a second, and ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONTENDERS = ("lvlora", "generate", "generate-static")
STEP_TOKENS = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--series", type=int, default=32)
    parser.add_argument("--history", type=int, default=500, help="tokens")
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--samples", type=int, default=0, help="0: greedy")
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(run(options.contender, options)))
        return
    found = {name: in_a_process(name, sys.argv[1:]) for name in options.only.split(",")}
    print(
        f"{'contender':16} {'seconds':>8} {'reading':>8} {'peak GiB':>9} {'tokens/s':>9} "
        f"{'slower':>7} {'memory':>7}"
    )
    ours = found.get("lvlora")
    n_tokens = options.series * max(1, options.samples) * options.tokens
    for name, figures in found.items():
        ratio = f"{figures['seconds'] / ours['seconds']:.2f} x" if ours else ""
        memory = f"{figures['peak_bytes'] / ours['peak_bytes']:.2f} x" if ours else ""
        print(
            f"{name:16} {figures['seconds']:8.1f} {figures.get('reading', 0):8.1f} "
            f"{figures['peak_bytes'] / 2**30:9.2f} {n_tokens / figures['seconds']:9.0f} "
            f"{ratio:>7} {memory:>7}"
        )
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))


def in_a_process(name: str, arguments: list[str]) -> dict[str, Any]:
    """One contender's figures, from a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments, "--contender", name],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{name}: {json.dumps(figures)}", file=sys.stderr)
    return figures


def histories(options: argparse.Namespace) -> list[Any]:
    """The same series for everybody."""
    import numpy as np

    from lvlora.series.dataset import Series

    random = np.random.default_rng(0)
    t = np.arange(options.history // STEP_TOKENS) * 0.5
    return [
        Series(str(i), t, np.stack([1.5 + np.sin(t * f + p), 1.5 + np.cos(t * f + p)], 1))
        for i, (f, p) in enumerate(random.uniform(0.2, 1.0, (options.series, 2)))
    ]


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Forecast in this process."""
    figures = (ours if name == "lvlora" else generate)(name, options)
    return {**figures, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def ours(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """`Forecaster.predict`, as `lvlora forecast` calls it."""
    from lvlora.forecast.open_model import open_model
    from lvlora.forecast.sampling import Sampling

    forecaster = open_model(str(options.model))
    sampling = Sampling(samples=max(1, options.samples), greedy=options.samples == 0)
    begin = time.perf_counter()
    forecaster.predict(histories(options), options.tokens // STEP_TOKENS, sampling)
    seconds = time.perf_counter() - begin
    trace = forecaster.usage.trace
    return {
        "seconds": seconds,
        "reading": trace.prefill_seconds,
        "calls": len(trace.calls),
        "tokens": sum(m for _, m in trace.futures),
        "executed_flops": forecaster.usage.price.executed,
    }


def generate(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """`model.generate`, one batch of equally long histories, no token ends it."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from lvlora.model import devices
    from lvlora.text.codec import Codec
    from lvlora.text.scaling import of_history

    tokenizer: Any = AutoTokenizer.from_pretrained(options.model)
    dtype = devices.choose().dtype
    model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).eval()
    codec = Codec(2, 2)
    texts = [codec.encode(of_history(s).apply(s.values)) for s in histories(options)]
    ids = [tokenizer.encode(t, add_special_tokens=False) for t in texts]
    length = min(len(i) for i in ids)
    inputs = torch.tensor([i[:length] for i in ids])
    begin = time.perf_counter()
    out = model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=options.tokens,
        min_new_tokens=options.tokens,
        do_sample=options.samples > 0,
        pad_token_id=0,
        temperature=1.0 if options.samples else None,
        top_k=None,
        top_p=None,
        repetition_penalty=1.0,
        num_return_sequences=max(1, options.samples),
        **({"cache_implementation": "static"} if name.endswith("static") else {}),
    )
    seconds = time.perf_counter() - begin
    assert out.shape[1] == length + options.tokens
    return {"seconds": seconds, "dtype": str(dtype)}


if __name__ == "__main__":
    main()
