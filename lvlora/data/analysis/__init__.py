"""The description of a data set: begin with `overview`, which puts the measurements together.

`dynamics` measures each series (`periods` its oscillations, with `cycles` telling repetition from
noise) and groups those that are alike.
"""
