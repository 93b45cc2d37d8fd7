"""Forecasters side by side: the same histories, the same truth, the same metrics.

Begin with `evaluate`, the verb: `lvlora evaluate` and `baseline` call it, and `lvlora.programs` has
it for Python, with forecasters that are open already; `price` says beforehand what it would take,
`report` draws its page again. A `job` is what the settings ask of a data set: do they go together,
and what is scored? A `protocol` cuts the data into a task. `candidates` are the models to score,
`scores` makes each forecaster's entry and that of the ensemble, `coverage` calibrates intervals,
`comparison` holds entries against each other, and `record` makes the answer (`answers`) of them.
`folder` keeps what is finished, so that a killed evaluation goes on. `export_task` and `foreign`
are for forecasts of other programs.

The room knows no terminal: what happens is told to a `lvlora.narrator.Narrator`.
`document` and `figures` show the record on a page and in a terminal.
"""
