"""Several commands told as one: the stages of a file, in one folder, on one ledger, interruptible.

Begin with `run.run_experiment`, the verb, and `run.plan_experiment`, what it would cost.

What the stages are is `lvlora.settings.experiment`. `plan` prices them without weights, `timing`
times them on this machine by small models of the same widths, `record` keeps what was begun and
found, `stages` does one of them by its own verb. What is told: `answers`.

It knows the verbs of train, sweep and evaluation, and nothing of how they do their work.
"""
