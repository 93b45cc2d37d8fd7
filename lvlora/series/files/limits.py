"""Limits on the size of what is read or made, so that no file and no option fills the memory."""

MAX_VALUES = 100_000_000
"""Values (series x steps x variables) of a data set: 0.8 GB as float64."""

MAX_VARIABLES = 1_000
"""Variables of a data set."""

MAX_COLUMNS = 10_000
"""Columns of a table, used or not."""

MAX_MAGNITUDE = 1e100
"""Largest absolute value and time: squares and sums of such numbers are still finite."""

MAX_TEXT_BYTES = 2_000_000_000
"""Bytes of a CSV file or of standard input."""

MAX_LINE_BYTES = 1_000_000
"""Bytes of one line of a CSV file."""

MAX_NAME_CHARACTERS = 200
"""Characters of an id or of a variable's name."""

MAX_NUMBER_CHARACTERS = 400
"""Characters of a number in a CSV file; the shortest that gives back a float64 has at most 24."""
