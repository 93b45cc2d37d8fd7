"""The entry point: `lvlora` and `python -m lvlora`.

Knows: that Ctrl-C may come before the program is there. Does not know: the program.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the program and return its exit code."""
    try:
        from lvlora.cli.app import main as run

        return run()
    except KeyboardInterrupt:  # while modules are imported, or after the last word
        print("Warning: lvlora was interrupted before it was done.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
