"""`lvlora simulate`: write a data set of predator-prey trajectories."""

from __future__ import annotations

import shlex

from lvlora import output_files
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.settings import SimulateSettings

EXAMPLES = examples(
    ("lvlora simulate", "200 trajectories of 100 steps into simulated.h5"),
    (
        "lvlora simulate noisy.csv -n 50 --noise 0.1 --gaps 0.05 --seed 7",
        "a long table with observation noise and missing values",
    ),
    ("lvlora simulate - -n 3 | lvlora analyze -", "CSV to standard output, and from there"),
    (
        "lvlora simulate classic.h5 --system lotka-volterra --duration 400",
        "the classic equations, for twice the time",
    ),
)


@settings_command(app, SimulateSettings, name="simulate", epilog=EXAMPLES)
def simulate(settings: SimulateSettings, context: CommandContext) -> None:
    """Write a data set of predator-prey trajectories.

    The parameters of the equations are drawn for each trajectory; the default resembles the
    coursework's data. The same seed gives the same file.
    """
    import io

    from lvlora.cli.terminal.progress import counted
    from lvlora.errors import DataError
    from lvlora.series.files.csv import write_csv
    from lvlora.series.files.readers import FORMATS
    from lvlora.series.files.writers import write_dataset
    from lvlora.series.simulate import SYSTEMS
    from lvlora.series.simulate import simulate as make

    output = context.output
    # before the work, not after it
    to_stdout = settings.output == STANDARD_OUTPUT
    if not to_stdout and settings.output.suffix.lower() not in FORMATS:
        raise DataError(
            f"{settings.output}: no format is called {settings.output.suffix!r}",
            f"Use one of {', '.join(FORMATS)}.",
        )
    if settings.output.exists() and not settings.overwrite:
        raise DataError(f"{settings.output}: already there", "Use another name, or --overwrite.")
    if to_stdout or settings.output.exists():
        kind = output_files.ANYTHING
        output_files.check("FILE", settings.output, kind, dash=True, json=context.json)
    with counted(output, "Simulating", settings.n_series) as advance:
        dataset = make(settings, lambda made: advance(1))
    if to_stdout:
        text = io.BytesIO()
        write_csv(dataset, text)
        output.write(text.getvalue().decode())
        return
    write_dataset(dataset, settings.output, settings.overwrite)
    payload = {
        "file": settings.output,
        "series": len(dataset),
        "steps": settings.n_steps,
        "variables": dataset.variables,
        "system": settings.system,
        "equations": SYSTEMS[settings.system].equations,
        "duration": settings.duration,
        "seed": settings.seed,
        "bytes": settings.output.stat().st_size,
        "sha256": dataset.sha256(),
    }
    output.report(
        payload,
        lambda: output.line(
            f"{settings.output}: {len(dataset):,} trajectories of {settings.n_steps:,} steps "
            f"({', '.join(dataset.variables)}), {settings.system}, seed {settings.seed}"
        ),
    )
    output.detail(SYSTEMS[settings.system].equations)
    file = shlex.quote(str(settings.output))
    output.hint(f"Next: lvlora analyze {file}, or lvlora train {file}")
