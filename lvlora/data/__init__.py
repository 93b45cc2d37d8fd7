"""Trajectories as arrays: reading, making, analysing and forecasting them, and scoring forecasts.

Begin with `dataset`: its `Series` and `Dataset` are what every room passes around.

- `files/` reads and writes CSV, HDF5 and Parquet; `frames` reads arrays and data frames
- every table becomes series in `files/tables.read_table`
- `known` reads the data that settings name, and sets columns apart whose future is known
- `dates`, `gaps`: times as numbers, even steps, missing values
- `simulate` makes predator-prey trajectories, and some that are like others
- `splits` says which series train, validate and test, and what a forecaster sees of one
- `periods`: peaks, periods and seasons; `analysis`: everything that `lvlora analyze` reports
- `metrics`: errors, scores of samples, dynamics

Nothing here knows of text, tokens or torch.
"""
