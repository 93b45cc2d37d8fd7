"""The terminal: results on standard output, remarks on standard error.

Begin with `output` (the one sink: JSON or tables, and whom verbs tell what they do) and `progress`
(live displays, plain lines where there is no terminal). The other modules are the tables of a
command's answer: `costs`, `forecasts`, `loss_chart`, `plans`.
"""
