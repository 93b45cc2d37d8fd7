"""Ways to fine-tune that `lvlora train` does not have: do they pay at the same FLOPs?

    python scripts/compare_losses.py DATA --work /tmp/losses        # goes on where it stopped

- weights of the loss: every token alike (as `lvlora train` does), digits only, the first digits of
  a number more than the last, the last more than the first
- a number-token loss beside the cross-entropy: how far the digits' distribution is from the true
  digit (Wasserstein distance: Zausinger et al. 2024, arXiv:2411.02083), each digit alike as there,
  or as much as it is worth
- averages of weights: the mean of the adapters of the last quarter of a run at a constant rate
- where windows begin: half series from any step on (as `lvlora train --seq-len 512` does) and
  from the first step (`--window-start first`), and rows from any step of the first half to the
  end of their series

Every variant is a training of --flops (executed) from the same base model; all are then scored by
one `lvlora evaluate`, in original units.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from comparison import options, run_of, scores
from torch import Tensor, nn

from lvlora import read
from lvlora.settings.checked import checked
from lvlora.settings.training import TrainSettings
from lvlora.text.alphabet import INDEX
from lvlora.text.windows import IGNORED, Batch, TokenSeries, Windows
from lvlora.train import plan
from lvlora.train.loaded import Loaded, load_run
from lvlora.train.new_run import new_run
from lvlora.train.objective import Objective
from lvlora.train.observer import Silent
from lvlora.train.plan import plan_run

RECIPE: dict[str, Any] = {
    "targets": ("all-linear",),
    "rank": 32,
    "batch_size": 2,
    "seq_len": 1000,
    "scale_jitter": 0.2,
}


@dataclass(frozen=True)
class Variant:
    """What is done otherwise.

    Attributes:
        whole, first, second: weights of the tokens of the whole part and of the two decimals.
        others: of point and separators.
        distance: weight of the number-token loss; by_worth: tenths count a tenth of ones.
        average: whether the adapters of the last quarter are averaged.
        late: rows begin at any step of the first half of their series.
        settings: of the training.
    """

    name: str
    whole: float = 1.0
    first: float = 1.0
    second: float = 1.0
    others: float = 1.0
    distance: float = 0.0
    by_worth: bool = False
    average: bool = False
    late: bool = False
    settings: tuple[tuple[str, Any], ...] = ()


CONSTANT = (("schedule", "constant"),)
HALVES = (("seq_len", 512), ("batch_size", 4))
FIRST_HALVES = (*HALVES, ("window_start", "first"))
VARIANTS = {
    "alike": Variant("every token alike"),
    "digits": Variant("digits only", others=0.0),
    "first": Variant("whole part 2, tenths 1, hundredths 0.5", 2.0, 1.0, 0.5),
    "last": Variant("whole part 0.5, tenths 1, hundredths 2", 0.5, 1.0, 2.0),
    "distance": Variant("number-token loss, 0.3", distance=0.3),
    "worth": Variant("number-token loss by worth of the digit, 1", distance=1.0, by_worth=True),
    "constant": Variant("constant rate", settings=CONSTANT),
    "average": Variant("constant rate, last quarter averaged", average=True, settings=CONSTANT),
    "halves": Variant("windows of 512 from any step", settings=HALVES),
    "beginnings": Variant("windows of 512 from the first step", settings=FIRST_HALVES),
    "late": Variant("from any step of the first half to the end", late=True),
}


class Weighted(Objective):
    """Cross-entropies weighted by what a token is, and a number-token loss.

    The weights of a batch have the mean 1.
    """

    def __init__(self, plain: Objective, variant: Variant) -> None:
        super().__init__(plain.model, plain.alphabet, plain.head)
        self.variant = variant

    def loss_sum(self, batch: Batch) -> Tensor:
        targets = self.targets(batch)
        wanted = targets != IGNORED
        weights = self._weights(targets) * wanted
        weights = weights * (wanted.sum() / weights.sum())
        logits = self.logits(torch.from_numpy(batch.inputs).to(self.device))
        losses = nn.functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        loss = (losses * weights.flatten()).sum()
        return loss + self.variant.distance * self._distance(logits, targets)

    def _distance(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum over true digits y of the mean |d - y| of the digits d that are held possible."""
        digit = (targets >= 0) & (targets < 10)
        shares = logits[digit][:, :10].softmax(-1)
        far = (torch.arange(10, device=targets.device) - targets[digit][:, None]).abs()
        distances = (shares * far).sum(-1)
        if self.variant.by_worth:
            behind = self._behind_the_point(targets)[digit]
            distances = distances * torch.where(behind > 2, 1.0, 10.0**-behind)
        return distances.sum()

    @staticmethod
    def _behind_the_point(targets: Tensor) -> Tensor:
        """How far the last point is behind: 1 the first decimal, 2 the second; more: no decimal."""
        places = torch.arange(targets.shape[1], device=targets.device).expand_as(targets)
        latest = torch.where(targets == INDEX["."], places, -9).cummax(dim=1).values
        return places - latest

    def _weights(self, targets: Tensor) -> Tensor:
        variant = self.variant
        digit = (targets >= 0) & (targets < 10)
        behind = self._behind_the_point(targets)
        weights = torch.full(targets.shape, variant.others, device=targets.device)
        weights[digit] = variant.whole
        weights[digit & (behind == 1)] = variant.first
        weights[digit & (behind == 2)] = variant.second
        return weights


def train(data: str, folder: Path, variant: Variant, args: argparse.Namespace) -> dict[str, Any]:
    """One run; what it did."""
    given = {
        **RECIPE,
        "model": args.model,
        "max_flops": int(float(args.flops)),
        "validation": False,
        "out": folder,
        "runs": args.work,
        "overwrite": True,
        "threads": args.threads,
        **dict(variant.settings),
    }
    settings = checked(TrainSettings, given)
    dataset = read(data)
    with mock.patch.object(plan, "Windows", Late if variant.late else Windows):
        loaded = load_run(plan_run(settings, dataset))
    weights = (variant.whole, variant.first, variant.second, variant.others)
    if weights != (1.0,) * 4 or variant.distance:
        loaded = replace(loaded, objective=Weighted(loaded.objective, variant))
    run = new_run(loaded, {}, Silent())
    average = Average(loaded) if variant.average else None
    result = run.train()
    if average is not None:
        average.put_in()
        loaded.save_adapter(run.folder.adapter, {"run": run.folder.name})
    return {"steps": result.steps, "flops": result.flops.model_dump()}


class Late(Windows):
    """Rows from any step of the first half of their series on, shorter than a window."""

    def _place(self, sample: int) -> tuple[int, TokenSeries, int]:
        chosen, series, _ = super()._place(sample)
        rng = np.random.default_rng((self.seed, 3, sample))
        return chosen, series, int(rng.integers(len(series.starts) // 2))


class Average:
    """The mean of the parameters after each step of a run's last quarter."""

    def __init__(self, loaded: Loaded) -> None:
        self.parameters = list(loaded.parameters.values())
        self.sums = [torch.zeros_like(p) for p in self.parameters]
        self.first, self.steps, self.summed = loaded.plan.n_steps * 3 // 4, 0, 0
        loaded.optimizers[0].register_step_post_hook(self._add)

    def _add(self, *_: Any) -> None:
        self.steps += 1
        if self.steps > self.first:
            self.summed += 1
            for total, parameter in zip(self.sums, self.parameters, strict=True):
                total += parameter.detach()

    def put_in(self) -> None:
        """Make it the parameters."""
        with torch.no_grad():
            for total, parameter in zip(self.sums, self.parameters, strict=True):
                parameter.copy_(total / self.summed)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--greedy", action="store_true", help="score greedy forecasts")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for key in args.only:
        folder, variant = args.work / key, VARIANTS[key]
        done = folder / "done.json"
        if not done.is_file():
            done.write_text(json.dumps(train(args.data, folder, variant, args)))
        print(f"{json.loads(done.read_text())['steps']:6} steps  {variant.name}", flush=True)
    for row in scores(args, args.only, *(["--greedy"] if args.greedy else [])):
        key = run_of(row)
        name = VARIANTS[key].name if key in VARIANTS else row["name"]
        print(f"{name:45} MAE {row['mae']:.4f}  CRPS {row['crps']:.4f}")


if __name__ == "__main__":
    main()
