"""Guesses at a mistyped word; light, because a mistyped command is answered at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lvlora import errors

# what other programs of this field call the same thing
_SYNONYMS = {
    "r": "rank",
    "lora_r": "rank",
    "lora_rank": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "target_modules": "targets",
    "lr": "learning_rate",
    "steps": "max_steps",
    "max_iters": "max_steps",
    "iters": "max_steps",
    "num_samples": "samples",
    "prediction_length": "horizon",
    "base_model": "model",
    "output_dir": "out",
    "out": "study",
    "study_name": "study",
    "gradient_accumulation_steps": "accumulation",
    "per_device_train_batch_size": "batch_size",
    "max_seq_length": "seq_len",
    "file": "data",
    # commands
    "fit": "train",
    "finetune": "train",
    "fine-tune": "train",
    "tune": "sweep",
    "search": "sweep",
    "predict": "forecast",
    "generate": "forecast",
    "eval": "evaluate",
    "score": "evaluate",
    "merge": "export",
    "fuse": "export",
    "cost": "flops",
    "check": "doctor",
    "describe": "analyze",
}


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that was probably meant, or None."""
    candidates = list(candidates)
    synonym = _SYNONYMS.get(word)
    if synonym in candidates:
        return synonym
    return errors.closest(word, candidates)


def did_you_mean(word: str, candidates: Iterable[str], spell: Callable[[str], str] = str) -> str:
    """ "; did you mean …?", or nothing."""
    match = closest(word, candidates)
    return f"; did you mean {spell(match)}?" if match else ""
