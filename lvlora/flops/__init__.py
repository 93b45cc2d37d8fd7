"""Costs of operations, and the ledger of what was spent and what may be.

Begin with `shape` (a model's sizes) and the two conventions, `executed` and `coursework`: items
with exact counts. `prices` puts both together, `account` is what `lvlora flops` says. `ledger` is
what was spent and promised, `rows` its entries, `table` its sums, `limits` why something is
refused. Knows no models, data or texts; torch only in `measure`, which counts what really runs.
"""
