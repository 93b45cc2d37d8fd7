"""`lvlora train`: fine-tune a base model with LoRA on trajectories."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lvlora.cli import numbers
from lvlora.cli.configuration import resolve
from lvlora.cli.context import CommandContext
from lvlora.cli.from_settings import examples, settings_command
from lvlora.cli.inputs import load_dataset
from lvlora.cli.root import app
from lvlora.cli.run_files import draw_run, run_payload, write_settings
from lvlora.errors import DataError, SettingsError
from lvlora.settings import TrainSettings

if TYPE_CHECKING:
    from lvlora.train.run import Result
    from lvlora.train.run_folder import RunFolder
    from lvlora.train.setup import Prepared

EXAMPLES = examples(
    ("lvlora train --rank 8", "train on data simulated on the spot"),
    (
        "lvlora train data.h5 --max-steps 300 --learning-rate 2e-3",
        "train on a file's trajectories",
    ),
    (
        "lvlora train data.h5 --max-flops 1e13 --dry-run",
        "what a run of that price would be, without doing it",
    ),
)

_KEPT_ON_RESUME = {"resume", "runs", "threads", "budget"}


@settings_command(app, TrainSettings, name="train", epilog=EXAMPLES)
def train(settings: TrainSettings, context: CommandContext) -> None:
    """Fine-tune a base model with LoRA on trajectories.

    Writes a run folder with the adapter (in PEFT's layout), the metrics of every step, the
    settings, figures and a report, and charges the ledger.
    """
    from lvlora.cli.progress import observer
    from lvlora.train.run import Run
    from lvlora.train.run_folder import RunFolder, create
    from lvlora.train.setup import prepare

    output = context.output
    folder: RunFolder | None = None
    if settings.resume is not None:
        path = _find_run(settings)
        folder = RunFolder(path)
        settings = _stored_settings(folder, settings, context)
    dataset = load_dataset(settings, output)
    prepared = prepare(settings, dataset)
    if prepared.source.note:
        output.note(prepared.source.note)
    output.detail(f"{prepared.base.name}: {prepared.base.placement.reason}")
    if context.dry_run:
        _show_plan(prepared, context)
        return
    resuming = folder is not None
    if folder is None:
        slug = f"{prepared.source.name}-r{settings.rank}"
        folder = create(settings.runs, settings.out, slug, settings.overwrite)
        write_settings(folder, settings, context.sources, prepared)
    run = Run(prepared, folder, observer(output), resume=resuming)
    result = run.train()
    folder.make_latest()
    written = draw_run(folder, prepared, result)
    output.report(
        run_payload(result, folder, written), lambda: _show(result, prepared, folder, context)
    )
    output.hint(f"Next: lvlora forecast FILE --adapter {folder.path}")


def _find_run(settings: TrainSettings) -> Path:
    from lvlora.model.adapter_search import LATEST

    name = settings.resume or LATEST
    path = Path(name)
    if name == LATEST:
        stopped = list(settings.runs.glob("*/config.toml"))
        if not stopped:
            raise SettingsError(f"--resume: there is no run in {settings.runs}")
        path = max(stopped, key=lambda p: p.parent.name).parent
    elif not (path / "config.toml").is_file():
        path = settings.runs / name
    if not (path / "config.toml").is_file():
        raise SettingsError(
            f"--resume {name}: no such run in {settings.runs}",
            "Give a run's name or folder; alone, --resume takes the newest.",
        )
    return path


def _stored_settings(
    folder: RunFolder, given: TrainSettings, context: CommandContext
) -> TrainSettings:
    """The run's own settings; what decides its result can't be changed half-way."""
    stored = resolve(
        "train", TrainSettings, flags={}, environment={}, config=str(folder.config), commands={}
    ).settings
    for name, source in context.sources.items():
        asked, was = getattr(given, name), getattr(stored, name)
        if source in ("flag", "environment") and name not in _KEPT_ON_RESUME and asked != was:
            raise SettingsError(
                f"--{name.replace('_', '-')}: a run goes on with its own settings "
                f"({was}, not {asked})",
                "Leave the option out, or start a new run.",
            )
    if stored.data == Path("-"):
        raise DataError(f"{folder.path}: its data came from standard input, which is gone")
    return stored.model_copy(
        update={"runs": given.runs, "threads": given.threads or stored.threads}
    )


def _show_plan(prepared: Prepared, context: CommandContext) -> None:
    settings, most = prepared.settings, prepared.most()
    tokens = prepared.n_steps * settings.batch_size * settings.accumulation * prepared.windows.width
    trainable = sum(p.numel() for p in prepared.parameters.values())
    limit = settings.max_flops or settings.budget
    payload = {
        "model": prepared.base.name,
        "steps": prepared.n_steps,
        "validations": len(prepared.validate_at),
        "tokens": tokens,
        "trainable_parameters": trainable,
        "flops_at_most": {"executed": most.executed, "coursework": most.coursework},
        "share_of_limit": most.of(settings.convention) / limit if limit else None,
    }

    def human() -> None:
        rows = [
            ("model", prepared.base.name),
            ("steps", numbers.count(prepared.n_steps)),
            ("validations", numbers.count(len(prepared.validate_at))),
            ("tokens", numbers.count(tokens)),
            ("trainable parameters", numbers.count(trainable)),
            ("FLOPs at most, executed", numbers.flops(most.executed)),
            ("FLOPs at most, coursework", numbers.flops(most.coursework)),
        ]
        if limit:
            rows.append(("share of the limit", numbers.share(most.of(settings.convention) / limit)))
        context.output.table(["This run", ""], rows)
        context.output.line("Nothing was spent.")

    context.output.report(payload, human)


def _show(result: Result, prepared: Prepared, folder: RunFolder, context: CommandContext) -> None:
    before, after = result.zero_shot or {}, result.validation or {}
    rows: list[tuple[str, str]] = [
        (
            "steps",
            numbers.count(result.steps) + (" (stopped early)" if result.stopped_early else ""),
        ),
        ("trained parameters", numbers.count(result.trainable_parameters)),
        ("tokens", numbers.count(result.tokens)),
        ("time in steps", numbers.duration(result.seconds)),
        ("FLOPs, executed", numbers.flops(result.flops["executed"])),
        ("FLOPs, coursework", numbers.flops(result.flops["coursework"])),
    ]
    if after:
        for key, name in (("loss", "validation loss"), ("mae", "validation MAE")):
            if before.get(key) is not None and after.get(key) is not None:
                rows.append(
                    (name, f"{before[key]:.4g} before, {after[key]:.4g} at step {result.best_step}")
                )
    rows.append(("adapter", str(folder.adapter)))
    rows.append(("report", str(folder.path / "report.html")))
    context.output.table([f"Run {result.run}", ""], rows)
    losses = [float(r["loss"]) for r in folder.read_metrics() if "loss" in r]
    if len(losses) > 1:
        context.output.line("loss  " + context.output.curve(losses, 60))
