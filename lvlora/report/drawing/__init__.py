"""Parts of figures: one `style`, `panels` of trajectories, errors and costs of forecasters.

`text_chart` draws without matplotlib, for terminals.
"""
