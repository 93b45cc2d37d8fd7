"""What commands show: results on standard output, everything said about them on standard error.

Begin with `output` (the one sink: JSON or tables) and `progress` (live displays, plain lines where
there is no terminal). `plans`, `costs` and `loss_chart` are the tables and curves of some commands.
"""
