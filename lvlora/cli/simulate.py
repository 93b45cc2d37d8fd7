"""`lvlora simulate`: write a data set of predator-prey trajectories."""

from __future__ import annotations

import shlex

from lvlora import output_files
from lvlora.cli.program.context import CommandContext
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.data.settings import SimulateSettings
from lvlora.output_files import STANDARD_OUTPUT
from lvlora.report.document import Document

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
    from lvlora.data import simulate as simulation
    from lvlora.data.files import check_suffix
    from lvlora.data.files.csv import table_text

    output, file = context.output, settings.output
    output_files.check("FILE", file, overwrite=settings.overwrite, dash=True, json=output.json_mode)
    if file != STANDARD_OUTPUT:
        check_suffix(file)
    if file == STANDARD_OUTPUT:
        output.write("".join(table_text(simulation.simulate(settings, output))))
        return
    answer = simulation.write_simulated(settings, output)
    output.report(
        answer,
        lambda: Document(
            f"{answer.file}: {answer.series:,} trajectories of {answer.steps:,} steps "
            f"({', '.join(answer.variables)}), {answer.system}, seed {answer.seed}",
            [],
        ),
    )
    output.detail(answer.equations)
    name = shlex.quote(answer.file)
    output.hint(f"Next: lvlora analyze {name}, or lvlora train {name}")
