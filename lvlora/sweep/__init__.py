"""Many trainings under one FLOP budget, and the best of them.

Begin with `search.run_search`, the verb; `lvlora.programs.search` is the same for programs.

What is searched: `space`, `space_file` (a space in TOML), `stages` (trials that are compared with
each other). What it may cost: `plan`, which gives every stage its share of a limit before
anything is spent. Who makes which trial: `study`, shared by any number of processes; `attempts`,
what Optuna's trials are to it; `facts`, what it is about; `storage`, where it is kept.
Making trials: `loop`, one after the other; `trial`, one of them, a run of `lvlora.train`;
`workers`, several processes. What comes of it: `results`, `answers`; `narrator` is told meanwhile.

It knows Optuna, and nothing of terminals.
"""
