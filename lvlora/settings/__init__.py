"""The frozen, validated settings of every command: one field is one option, one TOML key.

Begin with `base.option`: a field says its type, limits, help, panel, and what it affects, from
which identities of runs, studies and charges derive. `data`, `training`, `forecasting` and
`scoring` are the settings themselves; `configuration` finds their values (flag, environment, file,
default), `checked` says what is wrong with them. Knows no
typer, models or data.
"""
