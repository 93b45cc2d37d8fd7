"""One training run, from settings and data to an adapter in a folder that says how to repeat it.

Begin with `fine_tune`: the verb for programs, and `run_training` and `plan_training`, which the
command calls. They read top to bottom: `plan` (all that is priced and refused; no weights are
opened; `step_plan` lays out steps and validations), `loaded` (the plan with its weights), `new_run`
(its folder), `run` (from the first step to the last), the answer (`answers`).

In a run: `loop` and `objective` make steps, `remembered` says how these keep their layers in
float32, `validation` scores, `compilation` says when layers are compiled, `checkpoint` saves,
`progress` says how far it is and charges the ledger, `observer` is told. Its folder is
`run_folder`; `validation_file` keeps what validations forecast. `ranks` and `worker` are for
several processes, `process` for signals and random states, `trackers/` for outside trackers.
`estimate` measures a run before it is made, `measurement` holds prices to what is run.

It knows nothing of terminals, and of sweeps only that a trial is a run.
"""
