"""The command line: a thin file a command, which reads options, calls one verb, shows its answer.

`program/` makes options of settings and sentences of errors; `terminal/` shows answers and what is
being done. typer and rich live here and nowhere else; rooms are imported inside functions, so that
help comes at once.
"""
