"""Pretrain the bundled model from scratch on simulated series, on lvlora's own training engine.

    python scripts/pretrain/pretrain.py --out work/stage1 --export work/stage1/model
    python scripts/pretrain/pretrain.py --out work/stage2 --init work/stage1/model --layers 8 \\
        --mixture default --short 0 --decay 0.5 --learning-rate 2e-3 --steps 3600 --seed 1 \\
        --export work/stage2/model
    python scripts/pretrain/pretrain.py --out work/stage3 --init work/stage2/model --layers 8 \\
        --mixture waves --short 0 --decay 0.7 --learning-rate 2e-3 --steps 3700 --seed 2 \\
        --export work/stage3/model
    python scripts/pretrain/pretrain.py --out work/stage4 --init work/stage3/model --layers 8 \\
        --mixture populations --short 0 --decay 0.5 --learning-rate 2e-3 --steps 3300 --seed 3 \\
        --export work/stage4/model
    python scripts/pretrain/pretrain.py --out work/stage5 --init work/stage4/model --layers 8 \\
        --mixture populations --short 0 --decay 0.65 --learning-rate 1.5e-3 --steps 2100 --seed 4 \\
        --export work/stage5/model
    python scripts/pretrain/pretrain.py --out work/stage6 --init work/stage5/model --layers 8 \\
        --mixture populations --short 0 --decay 0.43 --learning-rate 1.5e-3 --steps 2800 --seed 6 \\
        --export work/stage6/model
    python scripts/pretrain/pretrain.py --out work/stage7 --init work/stage6/model --layers 8 \\
        --mixture populations --short 0 --decay 0.6 --learning-rate 1.5e-3 --steps 4600 --seed 7 \\
        --export work/stage7/model
    python scripts/pretrain/pretrain.py --out work/stage8 --init work/stage7/model --layers 8 \\
        --mixture populations --short 0 --optimizer muon --learning-rate 1e-3 --decay 0.5625 \\
        --steps 3200 --seed 9 --export work/stage8/model
    python scripts/pretrain/pretrain.py --out work/stage9 --init work/stage8/model --layers 8 \\
        --mixture populations --short 0 --optimizer muon --learning-rate 1e-3 --decay 0.6 \\
        --steps 3200 --seed 10 --export

The same command again goes on where a run was stopped; --export without a folder installs the
weights in the package. What a run is worth half-way shows once its rate has come down: a branch
begins at its newest state and ends sooner (here at step 700, decaying from 550):

    python scripts/pretrain/pretrain.py --out work/branch --branch-from work/stage4 --layers 8 \\
        --mixture populations --short 0 --learning-rate 2e-3 --seed 3 --steps 700 --decay 0.214 \\
        --export work/branch/model

Every batch is a pure function of (seed, step), so a killed run goes on where its last checkpoint
was and ends the same. Float32 master weights, bfloat16 where the processor has it, AdamW, or Muon
for the matrices (README.md, "Stage 8"). What it costs is charged to a ledger in the same folder.

A run may begin with another's weights and more layers: the new layers are copies whose output
projections are zero, so that the model begins as the same function (block expansion: Wu et al.
2024, "LLaMA Pro", arXiv:2401.02415).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import copy
import functools
import time
from dataclasses import dataclass
from pathlib import Path

import families
import numpy as np
import populations
import torch
from spellings import VOCABULARIES, number_line
from transformers import Qwen2Config, Qwen2ForCausalLM

from lvlora.flops import coursework, executed
from lvlora.flops.budget import Price
from lvlora.flops.item import total
from lvlora.flops.ledger import Ledger
from lvlora.flops.reservation import Reservation
from lvlora.flops.shape import ModelShape
from lvlora.model import attention, elementwise
from lvlora.model import numeric_tokenizer as tokenizer
from lvlora.model.devices import keep_freed_memory, probe_bfloat16, set_threads
from lvlora.text.alphabet import TokenAlphabet
from lvlora.text.codec import Codec
from lvlora.text.windows import IGNORED, Batch, collate
from lvlora.train import checkpoint, compilation, loop

POOL = 1024
"""Series drawn at a time; a batch takes its rows from one pool."""


class SimulatedBatches:
    """Batches of freshly simulated series; pool k is a pure function of (seed, k)."""

    def __init__(
        self,
        seed: int,
        batch_size: int,
        seq_len: int,
        mixture: str = "wide",
        vocabulary: str = "symbols",
    ) -> None:
        self.vocabulary = VOCABULARIES[vocabulary]
        self.alphabet = tokenizer.alphabet(self.vocabulary.several)
        self.seed, self.batch_size, self.seq_len = seed, batch_size, seq_len
        self.mixture = mixture
        self.pools: dict[int, concurrent.futures.Future[list[TokenRow]]] = {}
        self.thread = concurrent.futures.ThreadPoolExecutor(1)

    def _pool(self, k: int) -> list[TokenRow]:
        rng = np.random.default_rng((self.seed, k))
        if self.mixture == "populations":
            tokens = self.vocabulary.fewest, self.vocabulary.usual
            drawn = populations.draw(rng, POOL + 64, self.seq_len, *tokens)
        else:
            series = families.draw(rng, POOL + 64, self.seq_len, self.mixture)
            drawn = [populations.Row(values, decimals, 0) for values, decimals in series]
        return [token_row(row, self.seq_len, self.alphabet) for row in drawn[:POOL]]

    def batch(self, index: int) -> Batch:
        """``batch_size`` rows of ``seq_len`` targets, of which histories are none."""
        k, place = divmod(index * self.batch_size, POOL)
        for wanted in (k, k + 1):  # the next pool is simulated while this one trains
            if wanted not in self.pools:
                self.pools[wanted] = self.thread.submit(self._pool, wanted)
        self.pools = {i: f for i, f in self.pools.items() if i >= k}
        rows = self.pools[k].result()[place : place + self.batch_size]
        padded = collate([*(row.ids for row in rows), np.zeros(self.seq_len + 1, dtype=np.int64)])
        for row, targets in zip(rows, padded.targets, strict=False):
            targets[: row.history] = IGNORED
        return Batch(padded.inputs[:-1], padded.targets[:-1])


@dataclass(frozen=True)
class TokenRow:
    """A start token and up to ``seq_len`` others; the first ``history`` of those are no target."""

    ids: np.ndarray
    history: int


def token_row(row: populations.Row, seq_len: int, alphabet: TokenAlphabet) -> TokenRow:
    """The tokens of a series from its beginning."""
    steps = Codec(row.decimals, row.values.shape[1]).encode_steps(row.values)
    ids = [alphabet.encode(step) for step in steps]
    history = sum(len(step) for step in ids[: row.first])
    return TokenRow(np.concatenate([alphabet.beginning, *ids])[: seq_len + 1], history)


def build(args: argparse.Namespace) -> Qwen2ForCausalLM:
    """The architecture with random weights."""
    torch.manual_seed(args.seed)
    config = Qwen2Config(
        vocab_size=tokenizer.START_ID + 1 + len(VOCABULARIES[args.vocabulary].several),
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.kv_heads,
        max_position_embeddings=args.seq_len,
        rope_theta=args.rope_theta,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.START_ID,
        eos_token_id=None,
        pad_token_id=tokenizer.START_ID,
        initializer_range=0.02,
        attn_implementation=attention.register(),
    )
    model = Qwen2ForCausalLM(config)
    if args.vocabulary == "numbers":
        model.model.embed_tokens.weight.data = number_line(args.hidden)
    if args.init:
        expand(Qwen2ForCausalLM.from_pretrained(args.init), model)
    return model


def expand(source: Qwen2ForCausalLM, model: Qwen2ForCausalLM) -> None:
    """Give ``model`` the weights of a shallower ``source``; the added layers do nothing yet."""
    old, new = source.model.layers, model.model.layers
    taken = 0
    for i, layer in enumerate(new):
        wanted = -(-(i + 1) * len(old) // len(new))  # how many old layers stand up to here
        layer.load_state_dict(old[wanted - 1].state_dict())
        if wanted == taken:
            layer.self_attn.o_proj.weight.data.zero_()
            layer.mlp.down_proj.weight.data.zero_()
        taken = wanted
    model.model.embed_tokens.load_state_dict(source.model.embed_tokens.state_dict())
    model.model.norm.load_state_dict(source.model.norm.state_dict())


class Working:
    """The copy of the model that computes, in bfloat16 where that is fast, beside its masters.

    A step's gradients are handed to the float32 masters, which the optimiser moves, and the
    masters' values are rounded into the copy again.
    """

    def __init__(self, model: Qwen2ForCausalLM, dtype: torch.dtype) -> None:
        self.masters = list(model.parameters())
        self.model = copy.deepcopy(model).to(dtype)
        elementwise.slim(self.model)
        for master, own in zip(self.masters, self.model.parameters(), strict=True):
            own.register_post_accumulate_grad_hook(functools.partial(self._hand_over, master))

    @staticmethod
    def _hand_over(master: torch.nn.Parameter, own: torch.Tensor) -> None:
        gradient = own.grad.to(master.dtype)
        master.grad = gradient if master.grad is None else master.grad + gradient
        own.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the masters' values."""
        for master, own in zip(self.masters, self.model.parameters(), strict=True):
            own.copy_(master)


def learning_rate(step: int, args: argparse.Namespace) -> float:
    """Warm-up, constant, and a linear decay to zero over the last part (WSD)."""
    n, decay = args.steps, max(1, round(args.decay * args.steps))
    rate = args.learning_rate * min(1.0, (step + 1) / args.warmup)
    return rate * min(1.0, (n - step) / decay)


def phases(args: argparse.Namespace) -> list[tuple[int, int, int, int]]:
    """(first step, last step, batch, tokens): short windows first, the same tokens a step."""
    switch = round(args.short * args.steps)
    half = args.seq_len // 2
    return [
        (0, switch, args.batch_size * 2, half),
        (switch, args.steps, args.batch_size, args.seq_len),
    ]


def optimizers_of(
    parameters: dict[str, torch.nn.Parameter], args: argparse.Namespace
) -> list[torch.optim.Optimizer]:
    """AdamW; or Muon for the matrices of the layers, with updates as large as AdamW's, and AdamW
    for norms, biases and the embedding (Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982).
    """
    common = {"lr": args.learning_rate, "weight_decay": args.weight_decay}
    others, muon = dict(parameters), []
    if args.optimizer == "muon":
        names = [n for n, q in parameters.items() if q.ndim == 2 and "embed" not in n]
        matrices = [others.pop(name) for name in names]
        muon = [torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **common)]
    return [*muon, torch.optim.AdamW(others.values(), betas=(0.9, 0.98), fused=True, **common)]


def orthogonalisations(optimizers: list[torch.optim.Optimizer]) -> int:
    """FLOPs of the matrix products in a step of Muon: five Newton-Schulz iterations a matrix."""
    groups = [g for o in optimizers if isinstance(o, torch.optim.Muon) for g in o.param_groups]
    shapes = [sorted(q.shape) for group in groups for q in group["params"]]
    return sum(5 * (4 * m * m * n + 2 * m**3) for m, n in shapes)


def price_of(
    shape: ModelShape,
    optimizers: list[torch.optim.Optimizer],
    batch_size: int,
    seq_len: int,
    steps: int,
) -> Price:
    """What these steps cost with every weight trained; the coursework counts no optimiser."""
    return steps * Price(
        total(executed.full_fine_tuning_step(shape, batch_size, seq_len))
        + orthogonalisations(optimizers),
        total(coursework.training_step(shape, batch_size, seq_len)),
    )


def remaining(
    shape: ModelShape,
    optimizers: list[torch.optim.Optimizer],
    args: argparse.Namespace,
    first: int,
) -> Price:
    """The price of the steps from ``first`` on."""
    return sum(
        (
            price_of(shape, optimizers, b, s, max(0, stop - max(first, start)))
            for start, stop, b, s in phases(args)
        ),
        Price(),
    )


def reserve(
    ledger: Ledger,
    shape: ModelShape,
    optimizers: list[torch.optim.Optimizer],
    args: argparse.Namespace,
    first: int,
) -> Reservation:
    """Charge the run: a killed one's reservation is taken over, what it spent stays spent."""
    price = remaining(shape, optimizers, args, first)
    held = ledger.resume("pretrain")
    if held is not None:
        return ledger.extend(held, executed=price.executed, coursework=price.coursework)
    unit = price_of(shape, optimizers, args.batch_size * 2, args.seq_len, 1)
    return ledger.reserve(
        run="pretrain",
        phase="pretraining",
        command="scripts/pretrain/pretrain.py",
        executed=price.executed,
        coursework=price.coursework,
        model="lvlora-bundled",
        unit_executed=unit.executed,
        unit_coursework=unit.coursework,
    )


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--batch-size", type=int, default=8, help="series a step in the long phase")
    p.add_argument("--seq-len", type=int, default=1024)
    p.add_argument("--short", type=float, default=0.6, help="share of the steps with half windows")
    p.add_argument("--mixture", choices=(*families.MIXTURES, "populations"), default="wide")
    p.add_argument("--vocabulary", choices=VOCABULARIES, default="symbols")
    p.add_argument("--init", type=Path, default=None, help="a folder whose weights to begin with")
    p.add_argument("--hidden", type=int, default=128)
    p.add_argument("--intermediate", type=int, default=384)
    p.add_argument("--layers", type=int, default=6)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--kv-heads", type=int, default=2)
    p.add_argument("--rope-theta", type=float, default=10_000.0)
    p.add_argument("--optimizer", choices=("adamw", "muon"), default="adamw")
    p.add_argument("--learning-rate", type=float, default=3e-3)
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--decay", type=float, default=0.4)
    p.add_argument("--save-every", type=int, default=250)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=None, help="CPU threads; default: all cores")
    p.add_argument("--stop-at", type=int, default=None, help="stop early (experiments)")
    p.add_argument(
        "--export", type=Path, nargs="?", const=Path("lvlora/model/bundled"), default=None
    )
    p.add_argument(
        "--branch-from",
        type=Path,
        default=None,
        help="a run to go on from in a new folder, to another end (--steps, --decay)",
    )
    p.add_argument(
        "--export-saved", type=Path, default=None, help="write the newest saved state, and end"
    )
    args = p.parse_args()

    set_threads(args.threads)
    keep_freed_memory()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = build(args).to(device)
    parameters = dict(model.named_parameters())
    optimizers = optimizers_of(parameters, args)
    apart = ("out", "export", "export_saved", "branch_from", "stop_at", "init", "threads")
    facts = {k: v for k, v in vars(args).items() if k not in apart}
    state, warnings = checkpoint.latest(args.out)
    for warning in warnings:
        print(warning, flush=True)
    first = 0
    ends_elsewhere = set[str]()
    if state is None and args.branch_from is not None:
        state, warnings = checkpoint.latest(args.branch_from)
        ends_elsewhere = {"steps", "decay", "save_every"}
    if state is not None:
        # what runs did before there was a choice
        before = {"vocabulary": "symbols", "optimizer": "adamw", **state.facts}
        if any(before.get(k) != facts[k] for k in facts.keys() - ends_elsewhere):
            raise SystemExit(f"{state.folder} is of a run with other settings: {state.facts}")
        checkpoint.restore(state, parameters, optimizers)
        first = state.step
    if args.export_saved is not None:
        print(f"step {first}")
        export(model, args.export_saved, args.vocabulary)
        return
    low = device == "cuda" or probe_bfloat16()
    working = Working(model, torch.bfloat16 if low else torch.float32)
    if compilation.is_wanted("auto", args.steps - first, torch.device(device)):
        compilation.compile_layers(working.model)
    n = sum(q.numel() for q in parameters.values())
    kind = "bfloat16" if low else "float32"
    print(f"{n:,} parameters, {device}, {kind}, from step {first}", flush=True)

    def loss_sum(batch: Batch) -> torch.Tensor:
        # the head is a view of the trained embedding here, so it is made anew for each batch
        hidden = working.model.get_decoder()(
            input_ids=torch.from_numpy(batch.inputs).to(device), use_cache=False
        ).last_hidden_state
        logits = torch.nn.functional.linear(hidden, working.model.get_input_embeddings().weight)
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            torch.from_numpy(batch.targets).to(device).flatten(),
            reduction="sum",
            ignore_index=-100,
        )

    begin, losses = time.time(), []
    shape = ModelShape.from_config(model.config.to_dict(), name="lvlora-bundled")
    ledger = Ledger.for_runs(args.out)
    held = reserve(ledger, shape, optimizers, args, first)
    spent, tokens = held.spent, held.tokens_useful
    for start, stop, batch_size, seq_len in phases(args):
        if first >= stop:
            continue
        source = SimulatedBatches(
            args.seed + seq_len, batch_size, seq_len, args.mixture, args.vocabulary
        )
        per_step = price_of(shape, optimizers, batch_size, seq_len, 1)
        done = loop.steps(
            list(parameters.values()),
            optimizers,
            loss_sum,
            source,
            lambda s: learning_rate(s, args),
            first=max(first, start),
            last=stop,
            clip_norm=1.0,
        )
        for record in done:
            working.refresh()
            losses.append(record.loss)
            step = record.step
            spent += per_step
            tokens += record.tokens
            if step % 20 == 0:
                rate = (record.tokens + record.tokens_padded) / record.seconds
                print(
                    f"step {step} loss {np.mean(losses[-20:]):.4f} rate {record.learning_rate:.2e} "
                    f"grad {record.grad_norm:.2f} {rate:.0f} tokens/s {time.time() - begin:.0f} s",
                    flush=True,
                )
            if step % args.save_every == 0 or step == args.steps:
                checkpoint.save(args.out, step, parameters, optimizers, facts)
            if step % 20 == 0 or step == args.stop_at:
                charge = {
                    "executed": spent.executed,
                    "coursework": spent.coursework,
                    "seconds": held.seconds + time.time() - begin,
                    "tokens_useful": tokens,
                    "tokens_padded": 0,
                }
                ledger.update(held, **charge)
            if step == args.stop_at and step < args.steps:
                ledger.settle(held, **charge)
                return
    ledger.settle(
        held,
        executed=spent.executed,
        coursework=spent.coursework,
        seconds=held.seconds + time.time() - begin,
        tokens_useful=tokens,
        tokens_padded=0,
    )
    print(f"{spent.executed:,} FLOPs executed, {spent.coursework:,} coursework", flush=True)
    if args.export:
        export(model, args.export, args.vocabulary)


def export(model: Qwen2ForCausalLM, folder: Path, vocabulary: str) -> None:
    """Write config, weights and tokenizer as a plain transformers folder."""
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(folder, VOCABULARIES[vocabulary].several)


if __name__ == "__main__":
    main()
