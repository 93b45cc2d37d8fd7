"""Figures and pages; nothing here knows how the numbers were made.

`drawing/` has one look for all figures and the parts they share. `forecast`, `analysis` and
`spending` are the figures of single commands. `page` writes HTML files that need nothing else;
`run/` makes the page of a run. `document` has the blocks of which verbs make theirs.
"""
