"""Which packages lvlora needs and may use, and which of them are there.

Knows: names of packages, what a check says. Does not know: anything else of the machine.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "note", "problem"]

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "huggingface-hub",
    "numpy",
    "scipy",
    "scikit-learn",
    "h5py",
    "pydantic",
    "typer",
    "rich",
    "matplotlib",
    "optuna",
    "tomli-w",
)
EXTRAS = {
    "parquet": ("pyarrow", "Parquet files"),
    "gguf": ("gguf", ".gguf models"),
    "rivals": ("statsforecast", "the rivals AutoARIMA and Fracast-0"),
    "postgres": ("psycopg", "a study in PostgreSQL"),
    "grpc": ("grpcio", "a study behind Optuna's gRPC proxy"),
    "tensorboard": ("tensorboard", "--tracker tensorboard"),
    "trackio": ("trackio", "--tracker trackio"),
    "wandb": ("wandb", "--tracker wandb"),
    "mlflow": ("mlflow-skinny", "--tracker mlflow"),
}
"""Extra → its package, and what it is for."""

REINSTALL = "Install lvlora again: pip install --force-reinstall lvlora"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        status: ok; note: it works, but something could be better; problem: something won't work.
        found: what there is.
        advice: what to do; empty where nothing is to be done.
    """

    name: str
    status: Status
    found: str
    advice: str = ""


def packages() -> list[Check]:
    """The core packages."""
    versions, missing = [], []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        install = f"pip install {' '.join(missing)}"
        return [Check("packages", "problem", f"missing: {', '.join(missing)}", install)]
    shown = ("torch", "transformers", "numpy")
    found = ", ".join(version for version in versions if version.split()[0] in shown)
    return [Check("packages", "ok", f"{found} and {len(versions) - len(shown)} more")]


def extras() -> list[Check]:
    """Each extra; none is needed."""
    checks = []
    for extra, (package, gives) in EXTRAS.items():
        try:
            found = f"{package} {importlib.metadata.version(package)}"
            checks.append(Check(f"extra {extra}", "ok", found))
        except importlib.metadata.PackageNotFoundError:
            advice = f"For {gives}: pip install 'lvlora[{extra}]'"
            checks.append(Check(f"extra {extra}", "ok", "not installed", advice))
    return checks
