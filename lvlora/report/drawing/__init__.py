"""Parts of figures: one `style`, `panels` of trajectories, a `histogram`, bars of `errors`.

`text_chart` draws without matplotlib, for terminals.
"""
