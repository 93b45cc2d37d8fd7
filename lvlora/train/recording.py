"""What is told of each step and each validation: a line in metrics.jsonl, a word to the observer.

Knows: the fields of both. Does not know: how the numbers came about.
"""

from __future__ import annotations

import json

from lvlora import durable
from lvlora.flops.budget import Price
from lvlora.text.windows import Windows
from lvlora.train import validation_file
from lvlora.train.loop import Step
from lvlora.train.observer import Observer, StepRecord, ValidationRecord
from lvlora.train.progress import Progress
from lvlora.train.run_folder import RunFolder
from lvlora.train.validation import Validation


class Recorder:
    """Tells the file first, then the observer.

    Args:
        convention: of the FLOPs that the observer is told; the file has both.
    """

    def __init__(self, folder: RunFolder, observer: Observer, convention: str) -> None:
        self.folder = folder
        self.observer = observer
        self.convention = convention

    def step(self, step: Step, price: Price, progress: Progress) -> None:
        """A step that was made; ``progress`` has it."""
        self.folder.append(
            {
                "step": progress.step,
                "loss": step.loss,
                "learning_rate": step.learning_rate,
                "grad_norm": step.grad_norm,
                "seconds": round(step.seconds, 6),
                "tokens": step.n_targets,
                "tokens_padded": step.n_tokens - step.n_targets,
                "flops": price.executed,
                "flops_coursework": price.coursework,
                "total_flops": progress.spent.executed,
            }
        )
        self.observer.step(
            StepRecord(
                step=progress.step,
                loss=step.loss,
                learning_rate=step.learning_rate,
                grad_norm=step.grad_norm,
                seconds=step.seconds,
                tokens=step.n_targets,
                flops=price.of(self.convention),
                total_flops=progress.spent.of(self.convention),
            )
        )

    def validation(self, found: Validation, kept: bool, best: bool, progress: Progress) -> None:
        """A validation that was made; ``progress`` has it.

        Args:
            kept: its adapter is the best so far; best: no validation was better, not even the one
                before the first step.

        Raises:
            EndRun: the observer wants the run to end.
        """
        self.folder.append(
            {
                "validation": {
                    "step": progress.step,
                    "loss": found.loss,
                    "mae": found.mae,
                    "seconds": round(found.seconds, 6),
                    "flops": found.price.executed,
                    "flops_coursework": found.price.coursework,
                    "best": kept,
                },
                "total_flops": progress.spent.executed,
            }
        )
        told = kept or progress.step == 0
        if told and found.scored is not None and found.point is not None:
            name = "kept" if kept else "before"
            file = self.folder.validation
            validation_file.keep(file, found.scored, found.point, name, progress.step)
        self.observer.validated(
            ValidationRecord(
                progress.step,
                found.loss,
                found.mae,
                found.seconds,
                found.price.of(self.convention),
                best,
                kept,
            )
        )

    def failure(self, windows: Windows, step: int, accumulation: int) -> None:
        """Which series a step was made of that failed, for whoever looks for the cause.

        Args:
            step: steps that were done before it.
        """
        batches = [windows.origins(step * accumulation + i) for i in range(accumulation)]
        failure = {
            "step": step + 1,
            "batches": [
                [{"series": name, "first_step": first} for name, first in batch]
                for batch in batches
            ],
        }
        durable.write_text(self.folder.failure, json.dumps(failure, indent=1) + "\n")
