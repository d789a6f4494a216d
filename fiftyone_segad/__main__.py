"""The command line: ``python -m fiftyone_segad``."""

import sys

from .engine.command_line import main

if __name__ == "__main__":
    sys.exit(main())
