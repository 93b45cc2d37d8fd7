"""Figures and pages; nothing here knows how the numbers were made.

`document` has the blocks of which every verb makes its document, and `page` writes one as HTML that
needs nothing else. `drawing/` has one look for all figures and the parts they share; `forecast` and
`analysis` are the figures of single commands.
"""
