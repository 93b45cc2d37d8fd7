"""Numbers of pyEDM's S-map that tests/forecast/rivals/test_oracles.py compares ours with.

pip install pyEDM && python scripts/smap_oracle.py
"""

from __future__ import annotations

import numpy as np
import pandas
import pyEDM


def henon(n: int) -> np.ndarray:
    """(n, 2) the Henon map from (0.1, 0.3)."""
    path = [np.array([0.1, 0.3])]
    for _ in range(n - 1):
        x, y = path[-1]
        path.append(np.array([1 - 1.4 * x**2 + y, 0.3 * x]))
    return np.array(path)


for theta in (0.0, 2.0):
    frame = pandas.DataFrame(henon(60), columns=["x", "y"])
    frame.insert(0, "time", range(1, 61))
    forecast = pyEDM.SMap(
        frame,
        columns="x y",
        target="x",
        embedded=True,
        E=2,
        Tp=1,
        theta=theta,
        lib="1 40",
        pred="41 45",
        knn=39,
    )
    predictions = forecast["predictions"]["Predictions"].dropna().to_numpy()
    print(f"    {theta}: {[round(float(p), 10) for p in predictions]},")
