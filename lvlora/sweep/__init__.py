"""Many trainings under one FLOP budget, and the best of them.

Begin with `search.run_search`, the verb; `lvlora.programs.search` is the same for programs. `space`
has the values that are searched, `plan` the share of each stage in a limit, `study` the trials that
any number of processes share. `record` gives the answer, `document` its page. It knows Optuna,
and nothing of terminals.
"""
