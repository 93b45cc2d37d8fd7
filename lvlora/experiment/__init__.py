"""The stages of a file by the verbs train, sweep and evaluate, in one folder, on one ledger.

Begin with `experiment.run_experiment`, the verb. `settings` reads the stages, `prices` prices them
without weights, `record` keeps their results, and `document` shows them.
"""
