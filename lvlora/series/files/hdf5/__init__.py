"""HDF5 files: `layout` reads and writes them, `checks` distrusts them, `dates` has their dates."""
