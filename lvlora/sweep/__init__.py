"""Many trainings under one FLOP budget, and the best of them.

Begin with `search.run_search`, the verb; `lvlora.programs.search` is the same for programs. `space`
has the values that are searched, `plan` the share of each stage in a limit, `study` the trials that
any number of processes share, `storage` their place. `loop` makes trials one after the other,
`trial` one of them, `workers` starts several processes. `results` gives the answer, `document` and
`figures` its page. It knows Optuna, and nothing of terminals.
"""
