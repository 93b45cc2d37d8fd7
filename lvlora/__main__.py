"""`python -m lvlora` is `lvlora`."""

import sys

from lvlora.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
