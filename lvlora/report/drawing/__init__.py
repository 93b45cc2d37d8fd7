"""What figures are made of: one `style`, `panels` of trajectories, a `histogram`, bars of `errors`.

`text_chart` draws without matplotlib, for terminals.
"""
