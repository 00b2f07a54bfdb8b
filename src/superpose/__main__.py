"""`python -m superpose` is the command line."""

import sys

from superpose.cli import main

sys.exit(main())
