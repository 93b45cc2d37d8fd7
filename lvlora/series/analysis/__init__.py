"""What a data set looks like: begin with `overview`, which puts the measurements together.

`quality` looks for copies, gaps and uneven sampling; `periods` measures oscillations, with `cycles`
telling repetition from noise; `clusters` groups series of like dynamics.
"""
