"""Predator-prey trajectories: the equations, the ranges of their parameters, the integration.

A series is a pure function of (settings, its index): series 7 is the same whether 8 or 8,000 are
made, and the same with and without noise, up to that noise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lvlora.data.answers import Simulate
from lvlora.data.dataset import Dataset, FloatArray, Series
from lvlora.data.files import write_dataset
from lvlora.data.files.tables import MAX_VALUES
from lvlora.data.settings import SimulateSettings
from lvlora.errors import NumericalError, SettingsError
from lvlora.narrator import Narrator, Silent

VARIABLES = ("prey", "predator")
INITIAL_RANGE = (0.8, 1.2)
"""Both populations start here, drawn uniformly."""
MOST_STEPS = 256
"""Steps of a series like others, at most; longer ones are cut into windows anyway."""
_MOST_NOISE = 0.9
"""Share of the spread that noise is at most: there is to be a course beneath it."""
_TIME_STEPS = (1.0, 4.0)
"""Time units between two samples: a cycle of 44 has 11 to 44 of them."""
_MAX_DRAWS = 10


@dataclass(frozen=True)
class System:
    """Equations of a prey x and a predator y, and where their parameters are drawn from."""

    name: str
    equations: str
    log_growth: Callable[[float, float, Mapping[str, float]], tuple[float, float]]
    """(x, y, parameters) -> (x'/x, y'/y), per time unit: the equations of the logarithms, whose
    solutions stay positive."""
    ranges: Mapping[str, tuple[float, float]]
    """Each parameter's (lowest, highest) value; drawn uniformly and independently.
    ``conversion`` is delta / beta: predators gained per prey eaten."""


def _log_growth(x: float, y: float, p: Mapping[str, float]) -> tuple[float, float]:
    """Rosenzweig and MacArthur's; without K the prey has no limit, without h nobody is sated."""
    eaten = p["beta"] / (1.0 + p.get("h", 0.0) * x)
    prey = p["alpha"] * (1.0 - x / p.get("K", math.inf)) - eaten * y
    return prey, p["conversion"] * eaten * x - p["gamma"]


_RATES = {"alpha": (0.1, 0.3), "beta": (0.2, 0.5), "conversion": (0.3, 0.7), "gamma": (0.1, 0.3)}
_LIMIT = {"K": (5.0, 15.0)}

SYSTEMS: Mapping[str, System] = {
    name: System(name, equations, _log_growth, ranges)
    for name, equations, ranges in (
        (
            "rosenzweig-macarthur",
            "x' = x (alpha - beta y / (1 + h x) - alpha x / K), "
            "y' = y (delta x / (1 + h x) - gamma)",
            {**_RATES, **_LIMIT, "h": (0.05, 0.20)},
        ),
        ("lotka-volterra", "x' = x (alpha - beta y), y' = y (delta x - gamma)", _RATES),
        (
            "self-limited",
            "x' = x (alpha - beta y - alpha x / K), y' = y (delta x - gamma)",
            {**_RATES, **_LIMIT},
        ),
    )
}
"""The systems by name.

Rosenzweig & MacArthur (1963), doi:10.1086/282272; Lotka (1925); Volterra (1926). The ranges give
data like the coursework's: mean prey 1.7, predator 0.57, mean period 44 time units.
"""


def integrate(
    system: System,
    parameters: Mapping[str, float],
    initial: tuple[float, float],
    time: FloatArray,
) -> FloatArray:
    """(T, 2) populations at increasing times (T,), from positive ones at the first.

    The logarithms are integrated by LSODA (relative and absolute tolerance 1e-9). scipy's `odeint`
    is the same LSODA as `solve_ivp`'s, ten times faster because its step loop is compiled.

    Raises:
        NumericalError: the integrator gave up, or the solution left the range of floats.
    """
    from scipy.integrate import ODEintWarning, odeint

    def log_derivative(state: FloatArray, _t: float) -> tuple[float, float]:
        return system.log_growth(math.exp(state[0]), math.exp(state[1]), parameters)

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ODEintWarning)
            # of internal steps between two samples a few hundred are usual
            logs = odeint(
                log_derivative, np.log(initial), time, rtol=1e-9, atol=1e-9, mxstep=50_000
            )
        values: FloatArray = np.exp(logs)
        if not np.all(np.isfinite(values)) or np.any(values <= 0):
            raise OverflowError("the populations overflow")
    except (ODEintWarning, OverflowError) as error:
        raise NumericalError(
            f"{system.name}: the integration failed with {dict(parameters)}: {error}",
            "A shorter --duration or more steps make it easier.",
        ) from None
    return values


def observe(
    values: FloatArray, rng: np.random.Generator, *, noise: float = 0.0, gaps: float = 0.0
) -> FloatArray:
    """(T, V) true populations as an observer would have noted them.

    Args:
        noise: standard deviation of the log of a multiplicative log-normal factor (median 1).
        gaps: probability with which each value is missing (NaN). The first value of a variable
            that would lose all of them stays.
    """
    observed: FloatArray = values.copy()
    if noise > 0:
        observed *= np.exp(rng.normal(0.0, noise, size=values.shape))
    if gaps > 0:
        missing = rng.random(values.shape) < gaps
        missing[0, missing.all(axis=0)] = False
        observed[missing] = np.nan
    return observed


def simulate_series(
    system: System, time: FloatArray, seed: int, index: int, noise: float = 0.0, gaps: float = 0.0
) -> Series:
    """Trajectory ``index`` of the endless data set of a seed, (T, 2) at sample times (T,).

    Parameters and initial state come from one random stream, noise and gaps from another, both
    derived from (seed, index) alone. A draw that cannot be integrated is replaced by the next.

    Raises:
        NumericalError: none of ten draws could be integrated.
    """
    dynamics, observation = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed, spawn_key=(index,)).spawn(2)
    )
    for attempt in range(_MAX_DRAWS):
        parameters = {name: dynamics.uniform(*ends) for name, ends in system.ranges.items()}
        x0, y0 = dynamics.uniform(*INITIAL_RANGE, size=2)
        try:
            values = integrate(system, parameters, (float(x0), float(y0)), time)
            break
        except NumericalError:
            if attempt == _MAX_DRAWS - 1:
                raise
    return Series(str(index), time, observe(values, observation, noise=noise, gaps=gaps))


def simulate(settings: SimulateSettings, narrator: Narrator | None = None) -> Dataset:
    """Series "0", "1", … of ``n_steps`` samples at times 0 … ``duration``; nothing is written.

    Raises:
        SettingsError: they would have more than `MAX_VALUES` values.
        NumericalError: the equations could not be integrated.
    """
    n_values = settings.n_series * settings.n_steps * len(VARIABLES)
    if n_values > MAX_VALUES:
        raise SettingsError(
            f"{settings.n_series:,} series of {settings.n_steps:,} steps are {n_values:,} values; "
            f"the limit is {MAX_VALUES:,}",
            "Lower --n-series or --n-steps, or write several files with different seeds.",
        )
    system, seed = SYSTEMS[settings.system], settings.seed
    time = np.linspace(0.0, settings.duration, settings.n_steps)
    series = []
    with (narrator or Silent()).counted("Simulating", settings.n_series) as advance:
        for i in range(settings.n_series):
            series.append(simulate_series(system, time, seed, i, settings.noise, settings.gaps))
            advance(1)
    return Dataset(tuple(series), VARIABLES, f"simulated {settings.system}, seed {seed}")


def write_simulated(settings: SimulateSettings, narrator: Narrator) -> Simulate:
    """Simulate, and write the file; errors as of `simulate` and `write_dataset`."""
    dataset = simulate(settings, narrator)
    write_dataset(dataset, settings.output, settings.overwrite)
    return Simulate(
        file=str(settings.output),
        series=len(dataset),
        steps=settings.n_steps,
        variables=list(dataset.variables),
        system=settings.system,
        equations=SYSTEMS[settings.system].equations,
        duration=settings.duration,
        seed=settings.seed,
        bytes=settings.output.stat().st_size,
        sha256=dataset.sha256(),
    )


@dataclass(frozen=True)
class Likeness:
    """Properties that simulated series take over from real ones."""

    n_variables: int
    n_steps: int
    noise: float
    """Standard deviation of the noise by that of all values, 0 to 0.9."""
    gaps: float
    """Share of values that are missing."""

    @classmethod
    def to(cls, dataset: Dataset) -> Likeness:
        """As many variables, as long as the longest series, as noisy and with as many gaps.

        Noise is the median `noise_share` of all variables of all series, of logarithms where all
        values are positive; gaps are closed up for it.
        """
        shares, n_known, n_values = [], 0, 0
        for series in dataset:
            for column in series.values.T:
                known = column[np.isfinite(column)]
                n_known, n_values = n_known + len(known), n_values + len(column)
                if len(known) > 2:
                    shares.append(noise_share(np.log(known) if (known > 0).all() else known))
        return cls(
            len(dataset.variables),
            min(max((len(s) for s in dataset), default=1), MOST_STEPS),
            min(float(np.median(shares)), _MOST_NOISE) if shares else 0.0,
            1.0 - n_known / max(n_values, 1),
        )

    def series(self, seed: int, index: int) -> Series:
        """Number ``index`` of the endless data set that ``seed`` stands for, (T, V).

        Its variables are species of as many predator-prey systems as it needs, in any order: one
        variable is a prey or a predator alone. The systems, their parameters and the time between
        two samples are drawn anew for each series; noise is multiplicative and log-normal.

        Raises:
            NumericalError: none of ten draws of a system could be integrated.
        """
        rng = np.random.default_rng((seed, 3, index))
        n_systems = -(-self.n_variables // len(VARIABLES))
        low, high = np.log(_TIME_STEPS)
        time = np.arange(self.n_steps) * np.exp(rng.uniform(low, high))
        species = []
        for i in range(index * n_systems, (index + 1) * n_systems):
            name = sorted(SYSTEMS)[rng.integers(len(SYSTEMS))]
            species.append(simulate_series(SYSTEMS[name], time, seed, i).values)
        order = rng.permutation(n_systems * len(VARIABLES))[: self.n_variables]
        values = np.concatenate(species, axis=1)[:, order]
        factor = self.noise / np.sqrt(1.0 - self.noise**2)
        noisy = [
            observe(values[:, [v]], rng, noise=factor * float(np.log(values[:, v]).std()))
            for v in range(self.n_variables)
        ]
        return Series(str(index), time, observe(np.concatenate(noisy, axis=1), rng, gaps=self.gaps))


def noise_share(values: FloatArray) -> float:
    """The standard deviation of the noise of values (T,) by that of all; 0 for a constant.

    Of three neighbours, the middle one differs from the mean of the others by noise of 1.5 times
    its variance, and by the curvature of the course (Gasser, Sroka and Jennen-Steinmetz 1986,
    doi:10.1093/biomet/73.3.625), so that a coarsely sampled course counts as noise, too. Zigzags
    have more than 1, fewer than three values 0.
    """
    spread = float(values.std()) if len(values) else 0.0
    if len(values) < 3 or spread <= 1e-12 * float(np.abs(values).max()):
        return 0.0
    residuals = values[1:-1] - (values[:-2] + values[2:]) / 2
    return float(np.sqrt(np.mean(residuals**2) / 1.5)) / spread
