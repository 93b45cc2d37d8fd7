"""Forecasters side by side: the same histories, the same truth, the same metrics.

Begin with `evaluate`, the verb: `lvlora evaluate` and `baseline` call it, and `lvlora.programs` has
it for Python, with forecasters that are open already; it has the price of a dry run, too. A `job`
is the data, the models and the folder that the settings name. A `protocol` cuts the data into a
task. `scores` makes each forecaster's row and that of the ensemble, `coverage` calibrates
intervals, `comparison` holds rows against each other, and `record` makes the answer (`answers`) of
them. `folder` keeps what is finished, so that a killed evaluation goes on.

The room knows no terminal: a `lvlora.narrator.Narrator` is told what happens. `document` and
`figures` show the record on a page and in a terminal.
"""
