"""A sweep as figures and a page; both are made from the rows of its table."""
