"""The stages of a file by the three verbs, in one folder, on one ledger.

Begin with `run.run_experiment`, the verb, and `run.plan_experiment`, its price. The stages are read
by `lvlora.experiment.settings`. `plan` prices them without weights; `record` keeps their results
and their share of the ledger; `document` is their page. It knows the verbs of train, sweep and
evaluation, and nothing of how they work.
"""
