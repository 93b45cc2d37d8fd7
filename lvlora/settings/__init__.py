"""The frozen, validated settings of every command: one field is one option, one TOML key.

Begin with `base.option`: a field says its type, limits, help, panel, and what it affects, from
which identities of runs, studies and charges derive. `shared` has the settings of several commands.
`configuration` finds their values (flag, environment, file, default), `fields` says what each is
for people and what is wrong. Knows no typer, models or data.
"""
