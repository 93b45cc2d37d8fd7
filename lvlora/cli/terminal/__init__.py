"""The terminal: results on standard output, remarks on standard error.

`output` is the one sink: JSON or a document's tables, and whom verbs tell what they do. `progress`
has live displays, and plain lines where there is no terminal.
"""
