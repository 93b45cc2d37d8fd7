"""Compare ways to write numbers: small models from nothing, at 4e13, 1.5e14 and 6e14 FLOPs.

    python scripts/pretrain/ladder.py --out work/ladder --threads 1

Each finished run is a row of ``ladder.csv``, which is also where a stopped ladder goes on; the
curves are ``ladder.png`` beside it. Scores are on the development set: measured series, clean and
noisy systems, prey alone. Nothing that is kept apart is read.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass, replace
from pathlib import Path

import score_development as development_scores
from rows import Rows
from training import Recipe, export, train

from lvlora.model.devices import keep_freed_memory, set_threads

RUNGS = (4e13, 1.5e14, 6e14)
WIDTHS = (128, 192)
RESULTS = Path(__file__).with_name("ladder.csv")
_SAMPLES, _SYSTEMS = 20, 12
LINES = (
    "no_season_mase",
    "no_season_log_ratio",
    "no_season_better",
    "no_season_coverage",
    "season_mase",
    "clean_50_50",
    "clean_80_20",
    "noise_2",
    "noise_5",
    "noise_10",
    "prey_alone",
    "short",
)
"""Columns of scores: errors, the log of one over the last value's, and two shares of series: those
that are better than the last value, and values inside an interval of 80 %."""


@dataclass(frozen=True)
class Candidate:
    """A recipe at any budget."""

    name: str
    recipe: Recipe

    def at(self, budget: float) -> Recipe:
        """Return the recipe of a rung."""
        return replace(self.recipe, budget=budget)


def candidates() -> list[Candidate]:
    """Return each text of a number at each width, and two other mixtures of whole numbers."""
    texts = {
        "fourier": (Rows("numbers"), True),
        "symbols": (Rows("symbols"), False),
        "numbers": (Rows("numbers"), False),
        "pairs": (Rows("pairs"), False),
    }
    variants = {
        "fourier, clean futures": (Rows("numbers", clean_futures=True), True),
        "fourier, no groups": (Rows("numbers", related=False), True),
    }
    return [
        Candidate(f"{name}, {width}", Recipe(0.0, rows, fourier, width))
        for width, chosen in zip(WIDTHS, (texts | variants, texts), strict=True)
        for name, (rows, fourier) in chosen.items()
    ]


def scores(folder: Path) -> dict[str, float]:
    """Return a value for each of `LINES`."""
    forecasts = development_scores.of("lm", str(folder), _SAMPLES)
    measured = development_scores.score_measured(forecasts)
    plain, seasonal = measured["measured, no season"], measured["measured, seasonal"]
    systems = development_scores.score_systems(forecasts, _SYSTEMS, (0.0, 0.02, 0.05, 0.1))
    hard = development_scores.score_hard(forecasts, _SYSTEMS)
    return {
        "no_season_mase": plain["mase"],
        "no_season_log_ratio": plain["log ratio"],
        "no_season_better": plain["better"],
        "no_season_coverage": plain["coverage"],
        "season_mase": seasonal["mase"],
        "clean_50_50": systems["0 % noise, 50 -> 50"]["mae"],
        "clean_80_20": systems["0 % noise, 80 -> 20"]["mae"],
        "noise_2": systems["2 % noise, 50 -> 50"]["mae"],
        "noise_5": systems["5 % noise, 50 -> 50"]["mae"],
        "noise_10": systems["10 % noise, 50 -> 50"]["mae"],
        "prey_alone": hard["prey alone, clean"]["mae"],
        "short": hard["20 -> 20, 5 % noise"]["mae"],
    }


def finished(path: Path) -> list[dict[str, str]]:
    """Return the rows of the results so far."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def climb(out: Path, results: Path, rungs: tuple[float, ...] = RUNGS) -> None:
    """Do every run that is not in the results yet, the cheapest rung first."""
    for budget in rungs:
        for candidate in candidates():
            key = {"candidate": candidate.name, "budget": f"{budget:g}"}
            if any(row.items() >= key.items() for row in finished(results)):
                continue
            folder = out / f"{candidate.name.replace(', ', '-').replace(' ', '_')}-{budget:g}"
            print(f"{candidate.name} at {budget:g} FLOPs", flush=True)
            recipe = candidate.at(budget)
            trained = train(recipe, folder)
            export(trained, folder / "model", recipe.rows.vocabulary)
            values = {k: f"{v:.4g}" for k, v in scores(folder / "model").items()}
            facts = {
                "executed": str(trained.executed),
                "steps": str(trained.steps),
                "seconds": f"{trained.seconds:.0f}",
            }
            append(results, key | facts | values)
            draw(finished(results), results.with_suffix(".png"))


def append(path: Path, row: dict[str, str]) -> None:
    """Add a row, after a header in a new file."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Draw each line of scores over the FLOPs, a curve a candidate."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 5, figsize=(20, 10))
    for axis, line in zip(axes.flat, LINES, strict=False):
        for name in dict.fromkeys(row["candidate"] for row in rows):
            points = [r for r in rows if r["candidate"] == name]
            flops, values = ([float(r[k]) for r in points] for k in ("executed", line))
            axis.plot(flops, values, marker="o", label=name)
        axis.set_xscale("log")
        if line not in ("no_season_log_ratio", "no_season_better", "no_season_coverage"):
            axis.set_yscale("log")
        axis.set_title(line.replace("_", " "))
        axis.set_xlabel("FLOPs executed")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    axes.flat[-1].legend(handles, labels, fontsize=8)
    for axis in axes.flat[len(LINES) :]:
        axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("work/ladder"), help="states and models")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    set_threads(args.threads)
    keep_freed_memory()
    climb(args.out, args.results)


if __name__ == "__main__":
    main()
