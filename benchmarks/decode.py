"""Forecasting side by side: lvlora against transformers' generate, each in a process of its own,
and both against what this machine needs at least.

usage: python benchmarks/decode.py MODEL [--series 32] [--history 50] [--horizon 50] [--samples 0]
                                   [--only lvlora,generate-static,generate] [--dtypes auto]
                                   [--own-dtype auto] [--out FILE.json]

MODEL is a folder that transformers loads. All contenders continue the same histories (simulated
series as text, two variables, two decimals, --history steps) by --horizon steps, greedily or, with
--samples N, by N futures of each. All are fed the same tokens, those of lvlora's alphabet.
`generate` gets the whole batch at once, SDPA attention, its static cache (or `generate`: its
dynamic one), in bfloat16 and in float32 where the processor has both, of which the faster counts.
--own-dtype float32 has lvlora do what it does on a processor without native bfloat16 (there
--dtypes is float32, too). generate's text need not be a valid series; it writes as many tokens as
the longest of lvlora's futures has, so that both forecast as many numbers, and a number that the
model's vocabulary has as one token is one for both. Loading is not counted.

Prints what the machine does (products with as many rows as a call has, reading memory), the seconds
that the task takes at least on it, what that means is in `bound.py`, and for each contender
seconds, of which reading the histories, peak resident memory, tokens a second by what each wrote,
and its time and share: the bound by its time.
"""

from __future__ import annotations

import argparse
import collections
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONTENDERS = ("lvlora", "generate-static")
MOST_RATES = 5
"""Different numbers of rows that products are measured with, beside those of reading."""
READING_ROWS = 2048
"""More rows at once are no faster."""
ENOUGH_ROWS = 256
"""As fast, nearly, and so short a product that something else seldom comes between."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--series", type=int, default=32)
    parser.add_argument("--history", type=int, default=50, help="steps")
    parser.add_argument("--horizon", type=int, default=50, help="steps")
    parser.add_argument("--samples", type=int, default=0, help="0: greedy")
    parser.add_argument("--only", default=",".join(CONTENDERS))
    parser.add_argument("--dtypes", default="auto", help="of generate, comma-separated")
    parser.add_argument("--own-dtype", default="auto", choices=("auto", "bfloat16", "float32"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        work = ours if options.contender == "lvlora" else generate
        work = machine if options.contender == "machine" else work
        print(json.dumps(work(options)))
        return
    names = options.only.split(",")
    report: dict[str, Any] = {"options": {k: str(v) for k, v in vars(options).items()}}
    results: dict[str, dict[str, Any]] = {}
    if "lvlora" in names:
        results["lvlora"] = in_a_process("lvlora")
        task = results["lvlora"].pop("task")
        report |= in_a_process("machine", {**task, "dtype": results["lvlora"]["dtype"]})
    request = {"tokens": results["lvlora"]["longest"]} if results else {}
    for name in (n for n in names if n != "lvlora"):
        for dtype in dtypes(options.dtypes):
            results[f"{name}-{dtype}"] = in_a_process(name, {**request, "dtype": dtype})
    for figures in results.values():
        if "bound" in report:
            figures["share_of_bound"] = report["bound"]["bound"] / figures["seconds"]
    report["contenders"] = results
    print(table(report))
    if options.out:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


def in_a_process(name: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    """One contender's figures, from a fresh process; what it is told, it reads."""
    done = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--contender", name],
        input=json.dumps(request or {}),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    printed = {k: v for k, v in figures.items() if k != "task"}
    print(f"{name} {json.dumps(printed)}", file=sys.stderr)
    return figures


def dtypes(requested: str) -> list[str]:
    """Those that generate is to be tried in."""
    if requested != "auto":
        return requested.split(",")
    # in a process of its own: a child's peak memory is at least what its parent had
    code = "from lvlora.model import devices; print(devices.choose().dtype)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    native = done.stdout.strip() == "torch.bfloat16"
    return ["bfloat16", "float32"] if native else ["float32"]


def table(report: dict[str, Any]) -> str:
    """The machine, the bound, and a line for each contender."""
    lines = []
    if "bound" in report:
        bound, can = report["bound"], report["machine"]
        rates = ", ".join(f"{n} rows {r / 1e9:.0f}" for n, r in can["rates"].items())
        lines = [
            f"machine, {can['dtype']}, {can['threads']} threads: GFLOP/s of products with {rates}; "
            f"reading {can['read_bytes'] / 1e6:.0f} MB {can['bandwidth'] / 1e9:.1f} GB/s",
            f"at least {bound['bound']:.2f} s: reading histories {bound['reading']:.2f}, "
            f"{bound['n_calls']} calls {bound['calls']:.2f} (products {bound['calls_products']:.2f}"
            f", memory {bound['calls_memory']:.2f})",
            f"in turn {bound['in_turn']:.2f} s, at full rate {bound['full_rate']:.2f} s, "
            f"as made {bound['merged']:.2f} s ({bound['n_made']} calls)",
        ]
    results = report["contenders"]
    rivals = {n: f["seconds"] for n, f in results.items() if n != "lvlora"}
    if rivals:
        lines.append(f"generate is fastest as {min(rivals, key=lambda n: rivals[n])}")
    lines.append(
        f"{'contender':25} {'seconds':>8} {'reading':>8} {'peak GiB':>9} {'tokens':>8} "
        f"{'tokens/s':>9} {'lvlora is':>10} {'memory':>7} {'of bound':>9}"
    )
    own = results.get("lvlora")
    for name, of_one in results.items():
        faster = memory = share = ""
        if own and name != "lvlora":
            faster = f"{of_one['seconds'] / own['seconds']:.2f} x"
            memory = f"{own['peak_bytes'] / of_one['peak_bytes']:.2f} x"
        if "share_of_bound" in of_one:
            share = f"{of_one['share_of_bound']:.1%}"
        reading = f"{of_one['reading']:.1f}" if "reading" in of_one else ""
        lines.append(
            f"{name:25} {of_one['seconds']:8.2f} {reading:>8} {of_one['peak_bytes'] / 2**30:9.2f} "
            f"{of_one['tokens']:8} {of_one['tokens'] / of_one['seconds']:9.0f} {faster:>10} "
            f"{memory:>7} {share:>9}"
        )
    return "\n".join(lines)


def histories(options: argparse.Namespace) -> list[Any]:
    """The same series for everybody."""
    import numpy as np

    from lvlora.data.dataset import Series

    random = np.random.default_rng(0)
    t = np.arange(options.history) * 0.5
    return [
        Series(str(i), t, np.stack([1.5 + np.sin(t * f + p), 1.5 + np.cos(t * f + p)], 1))
        for i, (f, p) in enumerate(random.uniform(0.2, 1.0, (options.series, 2)))
    ]


def peak_bytes() -> int:
    """Of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """`Forecaster.predict`, as `lvlora forecast --views 1` calls it; and what the task was."""
    import bound

    from lvlora.forecast.language_model import open_model
    from lvlora.forecast.sampling import Sampling
    from lvlora.text.grammar import spelling

    forecaster = open_model(str(options.model), dtype=options.own_dtype)
    sampling = Sampling(samples=max(1, options.samples), greedy=options.samples == 0)
    decoder, decoded = forecaster.decoder, []
    decode = decoder.decode

    def counted(prompts: Any, *rest: Any, **more: Any) -> Any:
        texts = decode(prompts, *rest, **more)
        decoded.append((prompts, texts))
        return texts

    decoder.decode = counted  # type: ignore[method-assign]
    begin = time.perf_counter()
    forecaster.predict(histories(options), options.horizon, sampling)
    taken, peak = time.perf_counter() - begin, peak_bytes()
    base, trace = forecaster.base, forecaster.usage.trace
    task: list[bound.Call] = []
    longest = 0
    for prompts, texts in decoded:
        read = [len(base.alphabet.beginning) + base.alphabet.count(p.text) for p in prompts]
        written = [
            (i, base.alphabet.spell(text)) for i, of_one in enumerate(texts) for text in of_one
        ]
        ways = [spelling(p.grammar, base.alphabet.tokens) for p in prompts]
        futures = [bound.Future(i, read[i], bound.fed(ways[i], text)) for i, text in written]
        task += [bound.reading(read), *bound.needed(futures)]
        longest += max(len(text) for _, text in written)
    calls, unread = [], sum(trace.histories)
    for call in trace.calls:
        calls.append(bound.traced_call(base.shape, call, reads=unread > 0))
        unread -= call.tokens  # or more, where histories were padded
    return {
        "seconds": taken,
        "reading": trace.prefill_seconds,
        "peak_bytes": peak,
        "calls": len(trace.calls),
        "tokens": sum(m for _, m in trace.futures),
        "longest": longest,
        "executed_flops": forecaster.usage.price.executed,
        "dtype": str(base.placement.dtype).removeprefix("torch."),
        "task": {"needed": task, "made": calls, "alphabet_rows": base.shape.alphabet_rows},
    }


def machine(options: argparse.Namespace) -> dict[str, Any]:
    """What this machine does, and what the task that is told takes on it at least."""
    import dataclasses
    import statistics

    import bound
    import torch
    from machine import bandwidth, rates

    from lvlora.flops.shape import ModelShape

    request = json.load(sys.stdin)
    task = [bound.Call(*call) for call in request["needed"]]
    calls = [bound.Call(*call) for call in request["made"]]
    shape = dataclasses.replace(
        ModelShape.from_file(options.model), alphabet_rows=request["alphabet_rows"]
    )
    dtype = getattr(torch, request["dtype"])
    steps = [call for call in task if call.cached]
    n_read = int(
        statistics.median(sum(bound.n_bytes(shape, c, dtype.itemsize)) for c in steps or task)
    )
    rows = row_counts(task, calls)
    can = bound.Machine(rates(shape, dtype, rows), bandwidth(n_read), dtype.itemsize)
    return {
        "machine": {
            "dtype": request["dtype"],
            "threads": torch.get_num_threads(),
            "rates": can.rates,
            "bandwidth": can.bandwidth,
            "read_bytes": n_read,
        },
        "bound": {
            **bound.bound(shape, can, task, calls),
            "n_calls": len(steps),
            "n_made": sum(bool(call.cached) for call in calls),
        },
    }


def row_counts(task: list[Any], calls: list[Any]) -> list[int]:
    """Numbers of rows to measure: the usual ones of calls, the extremes, and those of reading."""
    often = collections.Counter(min(c.tokens, READING_ROWS) for c in task if c.cached)
    every = [min(c.tokens, READING_ROWS) for c in (*task, *calls)]
    usual = [n for n, _ in often.most_common(MOST_RATES)]
    return sorted({min(every), *usual, min(ENOUGH_ROWS, max(every)), max(every)})


def generate(options: argparse.Namespace) -> dict[str, Any]:
    """`model.generate`, one batch of equally long histories, no token ends it."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    from lvlora.model import devices
    from lvlora.model.catalogue import resolve
    from lvlora.model.loading import outline, quiet
    from lvlora.text.codec import Codec
    from lvlora.text.scaling import of_history

    request = json.load(sys.stdin)
    dtype = getattr(torch, request["dtype"])
    with quiet():
        model: Any = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).eval()
    alphabet = outline(resolve(str(options.model)), devices.choose()).alphabet
    codec = Codec(2, 2)
    texts = [codec.encode(of_history(s).apply(s.values)) for s in histories(options)]
    ids = [np.concatenate([alphabet.beginning, alphabet.encode(t)]).astype(np.int64) for t in texts]
    length = min(len(i) for i in ids)
    inputs = torch.from_numpy(np.stack([i[len(i) - length :] for i in ids]))
    # without lvlora beside it: as many tokens a step as the histories have
    n_new = request.get("tokens", round(length / options.history * options.horizon))
    begin = time.perf_counter()
    out = model.generate(
        inputs,
        attention_mask=torch.ones_like(inputs),
        max_new_tokens=n_new,
        min_new_tokens=n_new,
        do_sample=options.samples > 0,
        pad_token_id=0,
        temperature=1.0 if options.samples else None,
        top_k=None,
        top_p=None,
        repetition_penalty=1.0,
        num_return_sequences=max(1, options.samples),
        **({"cache_implementation": "static"} if options.contender.endswith("static") else {}),
    )
    seconds = time.perf_counter() - begin
    assert out.shape[1] == length + n_new
    return {
        "seconds": seconds,
        "peak_bytes": peak_bytes(),
        "tokens": len(out) * n_new,
        "dtype": request["dtype"],
    }


if __name__ == "__main__":
    main()
