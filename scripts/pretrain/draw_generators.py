"""Draw nine series of each generator of the mixture, as they are observed, on one sheet.

python scripts/pretrain/draw_generators.py scripts/pretrain/generators.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from mixture import MIXTURE

DRAWS, STEPS, SEED = 9, 160, 3


def sheet(path: Path) -> None:
    """Write a row of pictures for each kind, with its name at the left."""
    figure, axes = plt.subplots(len(MIXTURE), DRAWS, figsize=(2 * DRAWS, len(MIXTURE)))
    for place, ((name, kind), row) in enumerate(zip(MIXTURE.items(), axes, strict=True)):
        rng = np.random.default_rng((SEED, place))
        for values, axis in zip(kind.simulate(rng, DRAWS, STEPS), row, strict=True):
            noted = kind.observer.observe(rng, values[:, : kind.n_variables], STEPS // 2)
            axis.plot(noted, linewidth=0.6)
            axis.set_xticks([])
            axis.tick_params(labelsize=5, length=1, pad=1)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=7)
    figure.subplots_adjust(left=0.1, right=0.998, top=0.998, bottom=0.002, hspace=0.1, wspace=0.15)
    figure.savefig(path, dpi=60)


if __name__ == "__main__":
    sheet(Path(sys.argv[1]))
