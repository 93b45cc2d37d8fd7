"""Precedence, configuration files, environment variables, and every complaint at once."""

import json
from typing import Any

import pytest
import typer

from lvlora.answers import Answer
from lvlora.cli.program.from_settings import COMMANDS, examples, settings_command
from lvlora.cli.program.root import load_all
from lvlora.report.document import Document
from lvlora.train.settings import TrainSettings

load_all()
MODELS = dict(COMMANDS)


class _Given(Answer):
    settings: dict[str, Any]
    sources: dict[str, str]
    dry_run: bool
    verbosity: int


@pytest.fixture(scope="module")
def program() -> typer.Typer:
    """A program with every settings model; each command prints what it was given."""
    app = typer.Typer(
        pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    for name, model in MODELS.items():

        @settings_command(app, model, name=name, epilog=examples((f"lvlora {name}", "it")))
        def command(settings, context):
            """Say it."""
            arguments = _Given(
                settings=json.loads(settings.model_dump_json()),
                sources=context.sources,
                dry_run=context.dry_run,
                verbosity=context.output.verbosity,
            )
            context.output.report(arguments, lambda: Document("done", []))

    return app


def _given(run, program, *args, **kwargs):
    ran = run([*args, "--json"], program=program, **kwargs)
    assert ran.exit_code == 0, ran.stderr
    return ran.json


def test_flag_beats_environment_beats_file_beats_default(run_lvlora, program, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text("rank = 2\nalpha = 3\ndropout = 0.1\n")
    env = {"LVLORA_ALPHA": "5", "LVLORA_RANK": "3"}

    got = _given(run_lvlora, program, "train", "--rank", "4", "-c", config, env=env)

    settings, sources = got["settings"], got["sources"]
    assert (settings["rank"], sources["rank"]) == (4, "flag")
    assert (settings["alpha"], sources["alpha"]) == (5, "environment")
    assert (settings["dropout"], sources["dropout"]) == (0.1, "config")
    assert (settings["seed"], sources["seed"]) == (0, "default")
    assert set(sources) == set(TrainSettings.model_fields)


SEVERAL = 'adapter = ["one", "two"]'


@pytest.mark.parametrize(
    ("line", "file", "env", "values"),
    [
        ("train", "", {}, {"validation": True}),
        ("train --no-validation", "", {}, {"validation": False}),
        ("train", "validation = false", {}, {"validation": False}),
        ("train --validation", "validation = false", {}, {"validation": True}),
        ("train --no-rslora", "rslora = true", {}, {"rslora": False}),
        ("train", "", {"LVLORA_RSLORA": "1"}, {"rslora": True}),
        # an option that may be repeated; a comma is part of a folder's name
        ("evaluate", "", {}, {"adapter": None}),
        ("evaluate --adapter a", "", {}, {"adapter": ["a"]}),
        ("evaluate --adapter a,b --adapter=c", "", {}, {"adapter": ["a,b", "c"]}),
        ("evaluate", "", {"LVLORA_ADAPTER": "a,b"}, {"adapter": ["a,b"]}),
        ("evaluate", SEVERAL, {}, {"adapter": ["one", "two"]}),
        # an empty value takes back what the file says; an empty variable is not set
        ("evaluate --adapter=", SEVERAL, {}, {"adapter": None}),
        ("train --max-steps=", "max_steps = 10", {}, {"max_steps": None}),
        ("train", "rank = 3", {"LVLORA_RANK": ""}, {"rank": 3}),
        # FLOPs are exact whole numbers
        ("train --budget 1e17", "", {}, {"budget": 10**17}),
        ("train --budget 100000000000000000", "", {}, {"budget": 10**17}),
        ("train --budget 100_000_000_000_000_000", "", {}, {"budget": 10**17}),
        ("train --budget 1.0e17", "", {}, {"budget": 10**17}),
        (f"train --budget {2**53 + 1}", "", {}, {"budget": 2**53 + 1}),
        # lists have commas
        ("forecast - --quantiles 0.05,0.95", "", {}, {"quantiles": [0.05, 0.95], "data": "-"}),
        ("forecast -", "", {"LVLORA_QUANTILES": "0.05, 0.95"}, {"quantiles": [0.05, 0.95]}),
        ("forecast - --series a", "", {}, {"series": ["a"]}),
        # variables give required arguments, too
        ("forecast", "horizon = 7", {"LVLORA_DATA": "x.csv"}, {"horizon": 7, "data": "x.csv"}),
        ("train", "\ufeffrank = 3\r\n", {}, {"rank": 3}),
        ("train", 'out = "~/run"', {"HOME": "/home/somebody"}, {"out": "/home/somebody/run"}),
    ],
)
def test_values_are_read_as_they_are_meant(run_lvlora, program, tmp_path, line, file, env, values):
    config = tmp_path / "run.toml"
    config.write_text(file, encoding="utf-8", newline="")
    variables = {"LVLORA_CONFIG": str(config)} | env
    settings = _given(run_lvlora, program, *line.split(), env=variables)["settings"]
    assert {name: settings[name] for name in values} == values


def test_everything_wrong_is_said_at_once(run_lvlora, program, tmp_path):
    config = tmp_path / "run.toml"
    config.write_text('rnk = 3\nseq_len = "long"\ntargets = []\nmodel = 7\nlayers = true\n')
    ran = run_lvlora(
        ["train", "-c", config, "--rank", "0", "--dtype", "float16", "--budget", "1.5"],
        env={"LVLORA_BATCH_SIZE": "many", "LVLORA_LEARNING_RATE": "nan"},
        program=program,
        code=2,
    )
    assert ran.stdout == ""
    error = ran.stderr
    assert error.startswith("Error: 10 settings are wrong:")
    for words in (
        f"rnk in {config}: is not a setting of train; did you mean rank?",
        "--rank: should be",
        "float16'; did you mean bfloat16?",
        "--budget: '1.5' is not a whole number",
        "LVLORA_BATCH_SIZE: should be a valid integer",
        "LVLORA_LEARNING_RATE: should be a",
        *(f"{name} in {config}: " for name in ("seq_len", "targets", "model")),
    ):
        assert words in error
    assert error.rstrip().splitlines()[-1] == "Hint: lvlora train --help explains every option."


@pytest.mark.parametrize("name", sorted(MODELS))
def test_printed_settings_run_again(run_lvlora, program, tmp_path, name):
    arguments = {
        "forecast": ["a b.csv", "--quantiles", "0.25,0.75", "--samples-out", 'we"ird\\name.csv'],
        "export": ["runs/latest", "--merged", "merged"],
        "evaluate": ["--adapter", "a", "--adapter", "b"],
        "train": ["--budget", "1e17", "--learning-rate", "1e-5", "--targets", "q_proj,o_proj"],
        "sweep": ["--max-flops", str(10**19 + 1), "--no-validation", "--layers", "0-3,7"],
        "tokenize": ["--series", "1.23\n[x] ünï", "--steps", "7"],
    }.get(name, [])
    printed = run_lvlora([name, *arguments, "--print-config"], program=program, code=0)
    config = tmp_path / "again.toml"
    config.write_text(printed.stdout)

    first = _given(run_lvlora, program, name, *arguments)["settings"]
    again = _given(run_lvlora, program, name, "--config", config)
    assert again["settings"] == first
    reprinted = run_lvlora([name, "--config", config, "--print-config"], program=program)
    assert reprinted.stdout == printed.stdout


def test_settings_can_be_printed_before_required_ones_are_known(run_lvlora, program):
    printed = run_lvlora(["forecast", "--print-config"], program=program, code=0)
    assert "# data is required" in printed.stdout
    assert "samples = 20" in printed.stdout
    assert "# horizon is not set" in printed.stdout


def test_a_file_comes_from_standard_input(run_lvlora, program):
    got = _given(run_lvlora, program, "train", "-c", "-", input="rank = 3\n")
    assert got["settings"]["rank"] == 3


def test_one_file_serves_several_commands(run_lvlora, program, tmp_path):
    config = tmp_path / "project.toml"
    config.write_text(
        'model = "bundled"\nhorizon = 9\n[train]\nrank = 3\nmax-steps = 5\n'
        "[forecast]\nsamples = 2\nhorizon = 11\n"
    )
    train = _given(run_lvlora, program, "train", "-c", config)["settings"]
    assert (train["model"], train["rank"], train["max_steps"]) == ("bundled", 3, 5)
    forecast = _given(run_lvlora, program, "forecast", "x.csv", "-c", config)["settings"]
    assert (forecast["model"], forecast["samples"], forecast["horizon"]) == ("bundled", 2, 11)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("horizon = 3", "is not a setting of train, but of baseline, evaluate, forecast"),
        ("lora_alpha = 3", "lora_alpha in FILE: is not a setting of train; did you mean alpha?"),
        ("[trian]\nrank = 3", "[trian] in FILE: is not a command; did you mean train?"),
        ("[forecast]\nhorizn = 3", "is not a setting of forecast; did you mean horizon?"),
        ("max-steps = 3\nmax_steps = 4", "is given twice"),
        ("rank = true", "rank in FILE: should not be true"),
        ("[train]\nrank = 0", "rank in [train] of FILE: should be"),
        ("rank = ", "FILE is not valid TOML"),
        ("rank = 3\nrank = 4", "FILE is not valid TOML"),
    ],
)
def test_wrong_files_are_refused_with_a_reason(run_lvlora, program, tmp_path, text, sentence):
    config = tmp_path / "run.toml"
    config.write_text(text)
    ran = run_lvlora(["train", "-c", config], program=program, code=2)
    assert sentence.replace("FILE", str(config)) in ran.stderr
    assert "Hint: " in ran.stderr


def test_missing_and_unreadable_files(run_lvlora, program, tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        ran = run_lvlora(["train", "-c", path], program=program, code=2)
        assert str(path) in ran.stderr
    binary = tmp_path / "x.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in run_lvlora(["train", "-c", binary], program=program).stderr


def test_a_misspelt_variable_is_noticed(run_lvlora, program):
    env = {"LVLORA_RNK": "3", "LVLORA_HORIZON": "2", "LVLORA_XYZXYZ": "1"}
    ran = run_lvlora(["train", "--quiet"], env=env, program=program, code=0)
    assert "LVLORA_RNK is not a setting and is ignored; did you mean LVLORA_RANK?" in ran.stderr
    assert "LVLORA_XYZXYZ is not a setting and is ignored." in ran.stderr
    assert "HORIZON" not in ran.stderr


def test_dry_run_exists_where_it_can(run_lvlora, program):
    assert _given(run_lvlora, program, "train", "--dry-run")["dry_run"] is True
    ran = run_lvlora(["simulate", "--dry-run"], program=program, code=2)
    assert "--dry-run" in ran.stderr
