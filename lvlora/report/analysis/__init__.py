"""A data set: `document` has its sentences and tables, `figures` its five figures."""
