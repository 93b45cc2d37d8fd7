"""The stages of a file by the three verbs, in one folder, on one ledger.

Begin with `run.run_experiment`, the verb, and `run.plan_experiment`, its price. The stages are read
by `lvlora.settings.experiment`. `plan` prices them without weights; `record` keeps their results
and says which entries of the ledger are whose; `stages` makes one by its own verb.

It knows the verbs of train, sweep and evaluation, and nothing of how they work.
"""
