"""The entry point: `lvlora` and `python -m lvlora`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    """Run the program and return its exit code."""
    # Importing torch and transformers makes a million objects that stay; Python's default looks
    # through them again for every 700 new ones, a fifth of the time of all imports. Nothing here
    # leaves large things in circles, so that looking seldomer costs no memory afterwards either.
    gc.set_threshold(50_000, 20, 50)
    # pydantic looks through all installed packages for plugins of its own; none is wanted here
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
    try:
        from lvlora.cli.program.app import main as run

        return run()
    except KeyboardInterrupt:  # while modules are imported, or after the last word
        print("Warning: lvlora was interrupted before it was done.", file=sys.stderr)
        return 130
    finally:
        # Nor does Python have to look through them at the end: they go with the process.
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
