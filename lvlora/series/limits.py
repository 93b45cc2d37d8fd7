"""Caps on the size of what is read or made, so that no file and no option fills the memory.

Knows: numbers. Does not know: who asks.
"""

MAX_VALUES = 100_000_000
"""Values (series x steps x variables) of a data set: 0.8 GB as float64."""

MAX_VARIABLES = 1_000
"""Variables of a data set."""

MAX_TEXT_BYTES = 2_000_000_000
"""Bytes of a CSV file or of standard input."""

MAX_FIELD_CHARACTERS = 1_000
"""Characters of one field of a CSV file."""
