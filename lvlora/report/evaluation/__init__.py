"""The page of an evaluation: `page` makes it from the record, evaluation.json, and nothing else.

`figures` draws what a record is worth a figure for (`cost_figure`, `valid_time_figure` and those of
`report.drawing`); `dynamics` and `limits` are sections of the page.
"""
