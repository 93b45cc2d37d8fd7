"""`lvlora analyze`: quality, statistics, periods, phase lag, clusters, figures."""

from __future__ import annotations

from lvlora import folders
from lvlora.cli.program.context import CommandContext, next_command
from lvlora.cli.program.from_settings import examples, settings_command
from lvlora.cli.program.root import app
from lvlora.data.settings import AnalyzeSettings
from lvlora.evaluation.settings import BaselineSettings

EXAMPLES = examples(
    ("lvlora analyze data.h5", "tables of quality, statistics, periods and clusters"),
    ("lvlora analyze data.csv --out figures", "the same, and figures as PNG and SVG"),
    ("lvlora analyze - < data.csv", "a CSV file from standard input"),
)


@settings_command(app, AnalyzeSettings, name="analyze", epilog=EXAMPLES)
def analyze(settings: AnalyzeSettings, context: CommandContext) -> None:
    """Describe a data set: quality, statistics, periods, phase lag, clusters.

    Nothing is changed and nothing is trained; what would mislead a training is said.
    """
    from lvlora.data.analysis import analyze as describe
    from lvlora.data.known import read_data
    from lvlora.report.analysis import document, draw_analysis, figure_files

    output = context.output
    dataset = read_data(settings, output)
    if settings.out is not None:  # before the work, not after it
        folders.claim("--out", settings.out, "analysis", [*figure_files(), "split.json"])
    analysis = describe(dataset, settings)
    answer = analysis.answer
    if settings.out is not None:
        from lvlora import durable

        files = draw_analysis(settings.out, dataset, analysis)
        answer = answer.model_copy(update={"figures": [str(file) for file in files]})
        durable.write_text(settings.out / "split.json", analysis.split.to_json())
        n_figures = len({file.stem for file in files})
        output.note(f"{n_figures} figures drawn into {settings.out}, each as PNG and SVG")

    output.report(answer, lambda: document(answer))
    drawn = next_command("analyze", AnalyzeSettings, settings, "--out", "figures")
    figures = "" if settings.out else f"{drawn} draws it; "
    scored = next_command("baseline", BaselineSettings, settings)
    output.hint(f"Next: {figures}{scored} shows how well simple forecasters do.")
