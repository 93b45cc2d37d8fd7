"""The page of an evaluation: `page` makes it from the record, evaluation.json, and nothing else.

`figures` draws what is worth a figure (`cost`, `valid_time` and those of `report.drawing`);
`dynamics` and `limits` are sections of the page.
"""
