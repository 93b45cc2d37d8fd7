"""What a sweep says: its plan, its table, its best, its files.

Knows: how a study is shown. Does not know: how a study is made.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lvlora import numbers
from lvlora.cli.terminal.output import Output
from lvlora.settings import SweepSettings, TrainSettings
from lvlora.settings.fields import read_fields

if TYPE_CHECKING:
    from lvlora.sweep.attempts import Attempt
    from lvlora.sweep.plan import Plan
    from lvlora.sweep.study import Board

_NOT_IN_COMMAND = ("max_steps", "max_flops", "data", "save_every", "threads")


def plan_rows(plan: Plan, convention: str) -> list[dict[str, Any]]:
    """A stage each: stage, trials, searched, steps, flops_each, flops_at_most."""
    rows = []
    for stage, allotment in zip(plan.stages, plan.allotments, strict=True):
        searched = "; ".join(f"{n} {d.text()}" for n, d in stage.space.dimensions.items())
        steps = (allotment.fewest, allotment.largest)
        rows.append(
            {
                "stage": stage.name,
                "trials": stage.n_trials,
                "searched": searched or "the best so far, longer",
                "steps": " – ".join(map(numbers.count, dict.fromkeys(steps))),
                "flops_each": allotment.most.of(convention),
                "flops_at_most": allotment.together.of(convention),
            }
        )
    return rows


def plan_payload(plan: Plan, settings: SweepSettings) -> dict[str, Any]:
    """The plan as JSON."""
    stages = [
        {
            "stage": stage.name,
            "trials": stage.n_trials,
            "space": stage.space.to_dict(),
            "steps": [allotment.fewest, allotment.largest],
            "flops_at_most": allotment.together.to_dict(),
        }
        for stage, allotment in zip(plan.stages, plan.allotments, strict=True)
    ]
    return {
        "stages": stages,
        "trials": plan.n_trials,
        "flops_at_most": plan.most.to_dict(),
        "convention": settings.convention,
        "validation_series": plan.validations.series,
        "validations": None if settings.validate_every else plan.validations.times,
    }


def show_plan(plan: Plan, settings: SweepSettings, limit: int | None, output: Output) -> None:
    """The plan as a table."""
    rows = plan_rows(plan, settings.convention)
    cells = [
        [
            r["stage"],
            numbers.count(r["trials"]),
            r["searched"],
            r["steps"],
            numbers.flops(r["flops_each"]),
            numbers.flops(r["flops_at_most"]),
        ]
        for r in rows
    ]
    most = plan.most.of(settings.convention)
    if len(rows) > 1:
        cells.append(["together", numbers.count(plan.n_trials), "", "", "", numbers.flops(most)])
    head = ["stage", "trials", "searched", "steps", "FLOPs each", "FLOPs at most"]
    of_limit = f" of {numbers.flops(limit)} ({numbers.share(most / limit)})" if limit else ""
    title = f"Plan: {numbers.flops(most)} FLOPs at most{of_limit}, {settings.convention}"
    output.table(head, cells, title=title, bold=[len(rows)] if len(rows) > 1 else [])
    series, times = plan.validations.series, plan.validations.times
    if settings.validate_every is None:
        often = "at its end" if times == 1 else f"up to {times} times, the last at its end"
    elif settings.validate_every == 1:
        often = "after every step"
    else:
        often = f"every {numbers.count(settings.validate_every)} steps, and at its end"
    output.note(f"Each trial is validated before it begins and {often}, on up to {series} series.")


def table_rows(board: Board, folder: Path, convention: str) -> list[dict[str, Any]]:
    """A trial each, as `lvlora.report.sweep.figures.Rows` has it, and more."""
    rows = []
    front = {attempt.slot for attempt in board.front(convention)}
    for attempt in board.records():
        end = attempt.end if attempt.state in ("complete", "pruned", "failed") else {}
        flops = end.get("flops") or {}
        rows.append(
            {
                "trial": attempt.slot,
                "stage": board.plan.stages[board.plan.stage_of(attempt.slot)].name,
                "params": attempt.params,
                "value": attempt.value,
                "mae": end.get("mae"),
                "loss": end.get("loss"),
                "steps": end.get("steps"),
                "flops": int(flops[convention]) if convention in flops else None,
                "seconds": end.get("seconds"),
                "state": attempt.state,
                "front": attempt.slot in front,
                "reason": end.get("reason"),
                "folder": str(folder / f"trial-{attempt.slot:04d}"),
            }
        )
    return rows


def show_table(
    rows: list[dict[str, Any]], best: Attempt | None, output: Output, *, front: bool = False
) -> None:
    """Every trial, the best in bold.

    Args:
        front: mark those that no other beats in both error and FLOPs.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["params"]))
    staged = len({row["stage"] for row in rows}) > 1
    head = [
        "trial",
        *(["stage"] if staged else []),
        *(n.replace("_", " ") for n in names),
        "MAE",
        "loss",
        "steps",
        "FLOPs",
        "state",
    ]
    cells = [
        [
            row["trial"],
            *([row["stage"]] if staged else []),
            *(_shown(row["params"].get(n)) for n in names),
            numbers.plain(row["mae"]),
            numbers.plain(row["loss"]),
            None if row["steps"] is None else numbers.count(row["steps"]),
            None if row["flops"] is None else numbers.flops(row["flops"]),
            row["state"] + (", front" if front and row["front"] else ""),
        ]
        for row in rows
    ]
    bold = [i for i, row in enumerate(rows) if best is not None and row["trial"] == best.slot]
    output.table(head, cells, bold=bold)
    for row in rows:
        if row["reason"]:
            output.line(f"trial {row['trial']} failed: {row['reason']}")


def payload_of(
    board: Board, settings: SweepSettings, rows: list[dict[str, Any]], limit: int | None
) -> dict[str, Any]:
    """The study as JSON."""
    states = [row["state"] for row in rows]
    best = board.best()
    spent = board.committed()
    left = board.plan.n_trials - len(rows)
    chosen = next((r for r in rows if best is not None and r["trial"] == best.slot), None)
    return {
        "study": settings.study,
        "finished": not board.unfinished(),
        "trials": {
            "planned": board.plan.n_trials,
            **{s: states.count(s) for s in ("complete", "pruned", "failed", "running")},
            "waiting": left + states.count("waiting"),
        },
        "best": chosen
        and {**{k: chosen[k] for k in ("params", "value", "trial", "mae", "loss", "folder")}},
        "front": [attempt.slot for attempt in board.front(settings.convention)],
        "importances": board.importances(),
        "flops": spent.to_dict(),
        "limit": limit,
        "convention": settings.convention,
        "plan": plan_payload(board.plan, settings),
        "table": rows,
    }


def command_of(settings: TrainSettings) -> str:
    """The command line that trains with these settings; defaults are left out."""
    defaults = TrainSettings()
    words = ["lvlora", "train"]
    if settings.data is not None:
        words.append(str(settings.data))
    for field in read_fields(TrainSettings):
        value = getattr(settings, field.name)
        if field.argument or field.name in _NOT_IN_COMMAND:
            continue
        if value == getattr(defaults, field.name) or value is None:
            continue
        words += field.words(value)
    return shlex.join(words)


def eta(board: Board) -> float | None:
    """Seconds until all is done, one trial after another, at the pace of those that are done."""
    done = [a for a in board.records() if a.state in ("complete", "failed", "pruned")]
    seconds = sum(a.ended - a.began for a in done if a.ended and a.began)
    spent = sum(a.spent.executed for a in done if a.spent is not None)
    if not seconds or not spent or not board.unfinished():
        return None
    shares = [board.plan.allotments[board.plan.stage_of(a.slot)].most for a in done]
    left = board.plan.most.executed - sum(price.executed for price in shares)
    return max(0.0, seconds / spent * left)


def draw(
    board: Board, settings: SweepSettings, rows: list[dict[str, Any]], folder: Path, command: str
) -> list[Path]:
    """The figures and the page; returns the files."""
    from lvlora.report.sweep.figures import draw_sweep
    from lvlora.report.sweep.page import write_sweep_page

    metric, before = _metric(board, settings.objective)
    importances = board.importances()
    written = draw_sweep(folder / "figures", rows, metric, before, importances)
    spent = board.committed()
    facts: dict[str, Any] = {
        "trials": f"{len(rows)} of {board.plan.n_trials}",
        f"{metric} before training": before,
        "FLOPs, executed": spent.executed,
        "FLOPs, coursework": spent.coursework,
        "sampler": board.sampler,
        "pruner": settings.pruner,
        "objectives": f"{metric}, FLOPs" if settings.pareto else metric,
        "seed": settings.seed,
    }
    page = folder / "report.html"
    write_sweep_page(
        page,
        study=settings.study,
        command=command,
        metric=metric,
        rows=rows,
        plan=plan_rows(board.plan, settings.convention),
        facts=facts,
        before=before,
        importances=importances,
    )
    return [*written, page]


def _metric(board: Board, objective: str) -> tuple[str, float | None]:
    """What the value of a trial is, and what it was before training."""
    for attempt in board.records():
        if attempt.value is not None:
            if attempt.end.get("mae") is not None and objective == "error":
                return "validation MAE", attempt.end.get("mae_before")
            return "validation loss", attempt.end.get("loss_before")
    return "validation error", None


def _shown(value: object) -> str | None:
    if value is None:
        return None
    return f"{value:.4g}" if isinstance(value, float) else str(value)
