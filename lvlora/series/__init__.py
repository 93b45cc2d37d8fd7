"""Trajectories as arrays: reading, making, analysing and forecasting them, and scoring forecasts.

Begin with `dataset`: its `Series` and `Dataset` are what every room passes around.

- `files/` reads and writes CSV, HDF5 and Parquet; `frames` does the same for arrays and data frames
- `given` is the data set that a command's settings ask for
- `dates`, `time_steps`, `gaps`: times as numbers, even steps, missing values
- `simulate` makes predator-prey trajectories; `disturbance` makes histories poorer
- `splits` says which series train, validate and test; `histories` what a forecaster sees of one
- `analysis/`: quality, periods, clusters, everything that `lvlora analyze` reports
- `metrics/`: errors, scores of samples, dynamics, skill
- `rivals/`: forecasters that are not language models

Nothing here knows of text, tokens or torch.
"""
