"""`python -m superpose` is the command line."""

import sys

from superpose.cli import main

if __name__ == "__main__":  # processes that are spawned import this module again
    sys.exit(main())
