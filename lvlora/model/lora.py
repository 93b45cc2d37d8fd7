"""LoRA, h = W0 x + (alpha / r) B A x, in one file (Hu et al. 2021, arXiv:2106.09685).

W0 is frozen in its own dtype; A (r, in) and B (out, r) are float32 and cast to the input's dtype
for the products. A begins Kaiming-uniform, B zero, so that the update begins at zero.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lvlora.errors import SettingsError, meant
from lvlora.model.head import head_of

_LAYER = re.compile(r"\blayers\.(\d+)\.")


class LoraLinear(nn.Module):
    """A frozen linear layer with a low-rank update.

    Attributes:
        base: the frozen nn.Linear.
        lora_a: (r, in) float32; lora_b: (out, r) float32.
        scaling: alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA (arXiv:2312.03732).
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        scaling: float,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> None:
        """Wrap a linear layer; A is drawn from ``generator`` on the CPU, the same on any device."""
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rank = rank
        self.scaling = scaling
        device = base.weight.device
        a = torch.empty(rank, base.in_features)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        self.lora_a = nn.Parameter(a.to(device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) to (…, out)."""
        a = self.lora_a.to(x.dtype)
        b = self.lora_b.to(x.dtype)
        low = nn.functional.linear(self.dropout(x), a).flatten(0, -2)  # (tokens, r)
        frozen = self.base(x)
        # one product that adds to what is there, and no tensor of the update alone
        out = torch.addmm(frozen.flatten(0, -2), low, b.t(), alpha=self.scaling)
        return out.view(frozen.shape)

    def delta(self) -> Tensor:
        """The update (alpha / r) B A as one (out, in) float32 matrix."""
        return self.scaling * (self.lora_b.detach().float() @ self.lora_a.detach().float())


@dataclass(frozen=True)
class LoraPlan:
    """The update of each adapted layer.

    Attributes:
        rank, alpha, dropout, rslora: as in the settings.
        targets: names of linear layers (`q_proj`), or `all-linear`.
        layers: only these transformer layers; None is all.
        rank_pattern, alpha_pattern: other ranks and alphas by the ends of module names (PEFT's).
        target_regex: PEFT's targets as one pattern of whole names; in place of `targets`.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    layers: tuple[int, ...] | None = None
    dropout: float = 0.0
    rslora: bool = False
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)
    target_regex: str | None = None

    def rank_of(self, name: str) -> int:
        """The rank at a module name, PEFT's pattern rule."""
        ranks = self.rank_pattern.items()
        return next((rank for end, rank in ranks if _ends_with(name, end)), self.rank)

    def scaling_of(self, name: str) -> float:
        """alpha/r (or alpha/sqrt r) at a module name."""
        alphas = self.alpha_pattern.items()
        alpha = next((alpha for end, alpha in alphas if _ends_with(name, end)), self.alpha)
        rank = self.rank_of(name)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def parse_layers(text: str | None, n_layers: int) -> tuple[int, ...] | None:
    """ "0-5,11" to (0, 1, 2, 3, 4, 5, 11); SettingsError outside 0…n_layers-1."""
    if text is None:
        return None
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*-\s*(\d+))?\s*", part)
        if not match:
            raise SettingsError(
                f"--layers {text}: {part!r} is not a layer or a range", "Example: --layers 0-5,11"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last >= n_layers:
            raise SettingsError(
                f"--layers {text}: the model has layers 0 to {n_layers - 1}",
                "Example: --layers 0-5,11",
            )
        chosen.update(range(first, last + 1))
    return tuple(sorted(chosen))


def find_targets(model: nn.Module, plan: LoraPlan) -> list[str]:
    """Full names of the linear layers that the plan names, in model order.

    Raises:
        SettingsError: a target matches no linear layer.
    """
    # a plain module (a test's, a layer alone) has no head to leave out
    head = head_of(model) if hasattr(model, "get_output_embeddings") else None
    linears = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head]

    def in_layers(name: str) -> bool:
        return plan.layers is None or layer_of(name) in plan.layers

    linears = [n for n in linears if in_layers(n)]
    if plan.target_regex is not None:
        matched = [n for n in linears if re.fullmatch(plan.target_regex, n)]
        if not matched:
            raise SettingsError(
                f"targets {plan.target_regex!r} match no linear layer of the model",
                "It has to match whole names, like model.layers.0.self_attn.q_proj.",
            )
        return matched
    if plan.targets == ("all-linear",):
        return linears
    available = sorted({n.rsplit(".", 1)[-1] for n in linears})
    for target in plan.targets:
        if not any(_ends_with(n, target) for n in linears):
            raise SettingsError(
                f"--targets {target}: the model has no such linear layer",
                f"{meant(target, [*available, 'all-linear'])}"
                f"Choose from {', '.join(available)}, or all-linear.",
            )
    return [n for n in linears if any(_ends_with(n, t) for t in plan.targets)]


def _ends_with(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)


def inject(model: nn.Module, plan: LoraPlan, seed: int = 0) -> list[str]:
    """Freeze the model and put a LoraLinear at every target; returns their names."""
    if next(lora_layers(model), None) is not None:
        raise ValueError("the model has low-rank updates already: merge or remove them first")
    names = find_targets(model, plan)
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for name in names:
        base = model.get_submodule(name)
        assert isinstance(base, nn.Linear)
        layer = LoraLinear(base, plan.rank_of(name), plan.scaling_of(name), plan.dropout, generator)
        _replace(model, name, layer.train(model.training))
    return names


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent) if parent else model, child, module)


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoraLinear]]:
    """(name, layer) of every injected layer, in model order."""
    return ((n, m) for n, m in model.named_modules() if isinstance(m, LoraLinear))


def layer_of(name: str) -> int:
    """The number in a module's name, ``model.layers.3.mlp.up_proj``; -1 outside of layers."""
    match = _LAYER.search(name)
    return -1 if match is None else int(match[1])


@torch.no_grad()
def merge(model: nn.Module) -> None:
    """Add every update to its W0, in float32 and cast back, and take the LoRA layers out."""
    for name, layer in list(lora_layers(model)):
        weight = layer.base.weight
        weight.copy_((weight.float() + layer.delta()).to(weight.dtype))
        _replace(model, name, layer.base)


def where_it_breaks(module: nn.Module, head: nn.Module) -> str:
    """A clause that names the first tensor with values that are not finite, or nothing.

    Args:
        module: the base model, with its adapter attached; head: its restricted head.
    """
    for part, prefix in ((module, ""), (head, "numeric head, ")):
        for name, tensor in part.state_dict().items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                return f"{prefix}{name} holds values that are not finite"
    return ""


def largest_scaling(module: nn.Module) -> float:
    """The largest factor of an adapter's updates; 0 without any."""
    return max((abs(layer.scaling) for _, layer in lora_layers(module)), default=0.0)
