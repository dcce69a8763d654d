"""``python -m discovery`` is the console script ``discovery``."""

import sys

from discovery.app.command_line import main

if __name__ == "__main__":
    sys.exit(main())
