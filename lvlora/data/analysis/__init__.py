"""The description of a data set: begin with `overview`, which puts the measurements together.

`quality` looks for copies, gaps and uneven sampling; `dynamics` measures each series (`periods` its
oscillations, with `cycles` telling repetition from noise); `clusters` groups those that are alike.
"""
