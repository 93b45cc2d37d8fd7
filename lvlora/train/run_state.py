"""A run's state on disk: written with what it must be the same for, read back with what changed.

Knows: what a checkpoint of a run says beside its tensors. Does not know: the order of a run, the
ledger.
"""

from __future__ import annotations

from lvlora.errors import DataError
from lvlora.model.adapters.files import is_whole
from lvlora.train import checkpoint
from lvlora.train.loaded import Loaded
from lvlora.train.observer import Observer
from lvlora.train.progress import Progress
from lvlora.train.run_folder import RunFolder


def save_state(loaded: Loaded, folder: RunFolder, progress: Progress) -> None:
    """Write a checkpoint of the run as it is.

    Raises:
        LvloraError: it cannot be written; the ones before are intact.
    """
    facts = {
        "identity": loaded.identity(),
        "progress": progress.to_facts(),
        "metrics_sha256": folder.sync_metrics(),
    }
    checkpoint.save(folder.state, progress.step, loaded.parameters, loaded.optimizers, facts)


def restore_state(loaded: Loaded, folder: RunFolder, observer: Observer) -> Progress:
    """Put the newest valid checkpoint into the run; how far it is.

    Raises:
        DataError: it belongs to other data, settings or weights, or to another version.
    """
    folder.remove_leftovers()
    state, warnings = checkpoint.latest(folder.state)
    for warning in warnings:
        observer.note(f"Warning: {warning}")
    if state is None:
        observer.note(f"{folder.path}: no checkpoint yet; starting from step 0")
        folder.keep_metrics_until(-1)
        return Progress()
    try:
        changed = loaded.changes_since(state.facts["identity"])
        progress = Progress.from_facts(state.facts["progress"])
        metrics_sha256 = state.facts["metrics_sha256"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{state.folder}: was written by another version of lvlora ({error!r})",
            "Go on with that version, or start a new run.",
        ) from None
    if changed:
        raise DataError(
            f"{folder.path}: cannot go on, changed since: {', '.join(changed)}",
            "Resume with the same data, settings and base model, or start a new run.",
        )
    checkpoint.restore(state, loaded.parameters, loaded.optimizers)
    if progress.best is not None and not is_whole(folder.adapter):
        # it stands beside the checkpoints, which cannot bring it back
        observer.note(
            f"Warning: {folder.adapter}: the best adapter, of step {progress.best_step}, is "
            "damaged or gone; the best of the steps to come takes its place"
        )
        progress.best = progress.best_step = progress.validation = None
        progress.stale = 0
    folder.keep_metrics_until(state.step)
    if folder.sync_metrics() != metrics_sha256:
        observer.note(f"Warning: {folder.metrics}: was changed since the checkpoint was written")
    return progress
