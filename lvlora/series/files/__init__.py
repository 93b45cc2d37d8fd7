"""Files of trajectories: `readers` is the one way in, `writers` the one way out.

Each format has a module (`csv`, `parquet`, `hdf5`); `tables` turns rows of any table into
trajectories, `limits` caps their size, `formulas` disarms cells that a spreadsheet would run.
"""
