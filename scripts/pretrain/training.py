"""Train a model of numbers from nothing on the mixture: one stage and one schedule.

Every batch is a pure function of (seed, step), so a killed run goes on where its last checkpoint
was and ends the same. Masters are float32; products are bfloat16 where the processor has it. The
matrices of the layers have Muon, the rest AdamW. The price is charged to a ledger in the folder.
"""

from __future__ import annotations

import copy
import functools
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numeric_tokenizer as tokenizer
import numpy as np
import torch
from rows import POSITIONS, Rows, SimulatedBatches
from spellings import VOCABULARIES, number_line
from transformers import Qwen2Config, Qwen2ForCausalLM

from lvlora.answers import NOTHING, Price
from lvlora.flops import coursework, executed
from lvlora.flops.answers import total
from lvlora.flops.ledger import Ledger, Wanted
from lvlora.flops.rows import Row, Spender
from lvlora.flops.shape import ModelShape
from lvlora.model import attention, elementwise
from lvlora.model.devices import probe_bfloat16
from lvlora.text.windows import Batch
from lvlora.train import loop, run_folder

SAVE_EVERY = 100
_NAME = "lvlora-bundled"


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights.

    Attributes:
        budget: executed FLOPs; the run ends with the last step that they pay.
        fourier: whether whole numbers begin with Fourier features of their values.
        decay: share of the steps in which the rate falls to 0.
    """

    budget: float
    rows: Rows
    fourier: bool = True
    hidden: int = 128
    layers: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 50
    decay: float = 0.6

    def config(self) -> Qwen2Config:
        """Return the architecture: heads of 32, two queries a key, a SwiGLU of three widths."""
        heads = self.hidden // 32
        return Qwen2Config(
            vocab_size=tokenizer.START_ID + 1 + len(self.rows.spelling.several),
            hidden_size=self.hidden,
            intermediate_size=3 * self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            max_position_embeddings=POSITIONS,
            rope_theta=10_000.0,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.START_ID,
            eos_token_id=None,
            pad_token_id=tokenizer.START_ID,
            initializer_range=0.02,
            attn_implementation=attention.register(),
        )

    def model(self) -> Qwen2ForCausalLM:
        """Return the architecture with the weights that training begins with."""
        torch.manual_seed(self.rows.seed)
        model = Qwen2ForCausalLM(self.config())
        if self.fourier and self.rows.vocabulary == "numbers":
            model.model.embed_tokens.weight.data = number_line(self.hidden)
        return model

    def rate(self, step: int, n_steps: int) -> float:
        """Return the rate: a warm-up, a constant, and a linear decay to 0 (WSD)."""
        rising = min(1.0, (step + 1) / self.warmup)
        return self.learning_rate * rising * min(1.0, (n_steps - step) / (self.decay * n_steps))


class Working:
    """The copy of the model that computes, in bfloat16 where that is fast, beside its masters.

    A step's gradients are handed to the float32 masters, which the optimiser moves, and the
    masters' values are rounded into the copy again.
    """

    def __init__(self, model: Qwen2ForCausalLM, dtype: torch.dtype) -> None:
        self.masters = list(model.parameters())
        self.model = copy.deepcopy(model).to(dtype)
        elementwise.slim(self.model)
        for master, working in zip(self.masters, self.model.parameters(), strict=True):
            working.register_post_accumulate_grad_hook(functools.partial(self._hand_over, master))

    @staticmethod
    def _hand_over(master: torch.nn.Parameter, working: torch.Tensor) -> None:
        gradient = working.grad.to(master.dtype)
        master.grad = gradient if master.grad is None else master.grad + gradient
        working.grad = None

    @torch.no_grad()
    def refresh(self) -> None:
        """Take over the masters' values."""
        for master, working in zip(self.masters, self.model.parameters(), strict=True):
            working.copy_(master)

    def loss_sum(self, batch: Batch) -> torch.Tensor:
        """Return the summed cross-entropy of a batch."""
        device = self.masters[0].device
        hidden = self.model.get_decoder()(
            input_ids=torch.from_numpy(batch.inputs).to(device), use_cache=False
        ).last_hidden_state
        # the head is a view of the trained embedding, so it is read anew for each batch
        logits = torch.nn.functional.linear(hidden, self.model.get_input_embeddings().weight)
        return torch.nn.functional.cross_entropy(
            logits.float().flatten(0, 1),
            torch.from_numpy(batch.targets).to(device).flatten(),
            reduction="sum",
            ignore_index=-100,
        )


def optimizers_of(
    parameters: dict[str, torch.nn.Parameter], recipe: Recipe
) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the layers, with updates as large as AdamW's, and AdamW.

    Source: Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982.
    """
    common = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    others = dict(parameters)
    names = [n for n, q in parameters.items() if q.ndim == 2 and "embed" not in n]
    matrices = [others.pop(name) for name in names]
    return [
        torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **common),
        torch.optim.AdamW(others.values(), betas=(0.9, 0.98), fused=True, **common),
    ]


def orthogonalisations(optimizers: list[torch.optim.Optimizer]) -> int:
    """Return the FLOPs of the products in a step of Muon: five Newton-Schulz iterations each."""
    groups = [g for o in optimizers if isinstance(o, torch.optim.Muon) for g in o.param_groups]
    shapes = [sorted(q.shape) for group in groups for q in group["params"]]
    return sum(5 * (4 * m * m * n + 2 * m**3) for m, n in shapes)


class Costs:
    """Prices of steps with every weight trained; the coursework counts no optimiser."""

    def __init__(self, shape: ModelShape, recipe: Recipe, optimizer_flops: int) -> None:
        self.recipe = recipe
        self._of_length = functools.cache(
            lambda batch, length: Price(
                total(executed.full_fine_tuning_step(shape, batch, length)) + optimizer_flops,
                total(coursework.training_step(shape, batch, length)),
            )
        )

    def step(self, step: int) -> Price:
        """Return the price of one step."""
        return self._of_length(*self.recipe.rows.shape(step))

    def n_steps(self) -> int:
        """Return how many steps the budget pays."""
        spent, step = 0, 0
        while (spent := spent + self.step(step).executed) <= self.recipe.budget:
            step += 1
        return step

    def between(self, first: int, last: int) -> Price:
        """Return the price of the steps first … last-1."""
        return sum((self.step(s) for s in range(first, last)), NOTHING)


def reserve(ledger: Ledger, costs: Costs, first: int, last: int) -> Row:
    """Reserve the steps from first to last; what a killed process may have spent stays charged."""
    if any(row.status == "open" for row in ledger.rows()):
        ledger.close("pretrain")
    unit = max((costs.step(s) for s in range(min(last, 200))), key=lambda p: p.executed)
    wanted = {"pretraining": Wanted(costs.between(first, last), unit)}
    spender = Spender(command="scripts/pretrain/pretrain.py", model=_NAME)
    return ledger.reserve("pretrain", wanted, spender)["pretraining"]


@dataclass(frozen=True)
class Trained:
    """A finished run: its weights, its price, and the mean loss of its last 100 steps.

    A run that was finished before has no seconds and no loss.
    """

    model: Qwen2ForCausalLM
    steps: int
    executed: int
    seconds: float
    loss: float


def train(recipe: Recipe, folder: Path) -> Trained:
    """Train, or go on from the newest state in ``folder``.

    Raises:
        SystemExit: the folder has a run with another recipe.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = recipe.model().to(device)
    parameters = dict(model.named_parameters())
    optimizers = optimizers_of(parameters, recipe)
    facts = asdict(recipe)
    state, warnings = run_folder.latest_state(folder)
    for warning in warnings:
        print(warning, flush=True)
    first = 0
    if state is not None:
        if state.facts != facts:
            raise SystemExit(f"{state.folder} is of another recipe: {state.facts}")
        run_folder.restore_tensors(state.tensors, state.folder, parameters, optimizers)
        first = state.step
    low = device == "cuda" or probe_bfloat16()
    working = Working(model, torch.bfloat16 if low else torch.float32)
    shape = ModelShape.from_config(model.config.to_dict(), name=_NAME)
    costs = Costs(shape, recipe, orthogonalisations(optimizers))
    n_steps = costs.n_steps()
    n = sum(q.numel() for q in parameters.values())
    print(f"{n:,} parameters, {device}, bfloat16: {low}, {first} of {n_steps} steps", flush=True)
    price = costs.between(0, n_steps).executed
    if first == n_steps:
        return Trained(model, n_steps, price, 0.0, float("nan"))
    ledger = Ledger.for_runs(folder)
    held = reserve(ledger, costs, first, n_steps)
    spent, tokens, losses, begin = NOTHING, 0, list[float](), time.time()
    for record in loop.steps(
        list(parameters.values()),
        optimizers,
        working.loss_sum,
        SimulatedBatches(recipe.rows).batch,
        lambda step: recipe.rate(step, n_steps),
        first=first,
        last=n_steps,
        clip_norm=1.0,
    ):
        working.refresh()
        losses.append(record.loss)
        spent += costs.step(record.step - 1)
        tokens += record.tokens
        if record.step % 20 == 0:
            print(
                f"step {record.step} loss {np.mean(losses[-20:]):.4f} "
                f"rate {record.learning_rate:.2e} {time.time() - begin:.0f} s",
                flush=True,
            )
            ledger.record(held, spent, seconds=time.time() - begin, tokens_useful=tokens)
        if record.step % SAVE_EVERY == 0 or record.step == n_steps:
            run_folder.save_state(folder, record.step, parameters, optimizers, facts)
    seconds = sum(row.seconds for row in ledger.rows()) + time.time() - begin
    ledger.record(held, spent, seconds=time.time() - begin, tokens_useful=tokens, done=True)
    return Trained(model, n_steps, price, seconds, float(np.mean(losses[-100:])))


def export(trained: Trained, folder: Path, vocabulary: str) -> None:
    """Write config, weights and tokenizer as a plain transformers folder."""
    trained.model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save(folder, VOCABULARIES[vocabulary].several)
