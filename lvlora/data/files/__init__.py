"""Files of trajectories: `readers` is the one way in, `writers` the one way out.

Each format has a module (`csv`, `parquet`, `hdf5`); `columns` reads the columns of any table and
limits their size, `tables` turns its rows into trajectories.
"""
