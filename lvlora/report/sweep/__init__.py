"""A sweep as `figures` (with `importance`) and a `page`, both made from the rows of its table."""
