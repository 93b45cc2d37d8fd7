"""Costs of operations, and the ledger of what was spent and what may be.

Begin with `shape` (a model's sizes) and the two conventions, `executed` and `coursework`: items
with exact counts; `account` puts both together. `ledger` is what was spent and promised, and why
something is refused; `rows` are its records. Knows no models, data, texts or torch.
"""
