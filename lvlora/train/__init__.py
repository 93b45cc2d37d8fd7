"""One training run, from settings and data to an adapter in a folder that says how to repeat it.

Begin with `fine_tune`: the verb for programs, and `run_training` and `plan_training`, which the
command calls. They read top to bottom: `plan` (all that is priced and refused; no weights are
opened; `schedule` lays out steps and validations), `loop` (its weights and steps), `new_run`
(its folder), `run` (from the first step to the last), the answer (`answers`).

In a run: `loop` opens the weights and makes steps, at the rates of `schedule`; `remembered` is how
they keep their layers in float32; `validation` scores; `checkpoint` saves; `progress` says how far
it is and charges the ledger; `observer` is told. Its folder is `run_folder`. `ranks` and `worker`
are for several processes, `process` for signals and random states, `trackers/` for outside
trackers. `estimate` measures a run before it is made, `measurement` holds prices to what is run.

It knows nothing of terminals, and of sweeps only that a trial is a run.
"""
