"""One training run, from settings and data to an adapter in a folder that says how to repeat it.

Begin with `fine_tune`: the verb for programs, and `run_training` and `plan_training`, which the
command calls. `plan` lays out and prices text, steps and validations, refuses, and opens no
weights; `loop` opens them and makes steps; `run` goes from the first step to the last.

In a run `half_activations` keeps what the layers need for backward, `validation` scores,
`run_folder` has the files and saved states. `record` is what observers get, what comes back and
what stays, `document` shows it. `process` is for signals, random states and several processes,
`trackers` for outside trackers. `measurement` holds prices to what is run.

It knows nothing of terminals, and of sweeps only that a trial is a run.
"""
