"""The stages of a file by the verbs train, sweep and evaluate, in one folder, on one ledger.

Begin with `experiment.run_experiment`, the verb. `settings` reads the stages, `record` has the
answer, its document, and the results that are kept.
"""
