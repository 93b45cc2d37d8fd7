"""From words on a command line to one command's settings, and from errors to sentences.

Begin with `root` (the list of commands) and `from_settings` (a command is made of a settings
model). `context` is what a command has besides: where it speaks, and what to do next. `app` runs it
all and tells what went wrong. Knows typer; does not know what any command does.
"""
