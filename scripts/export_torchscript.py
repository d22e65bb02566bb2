"""The name under which `scripts/export.py` was known."""

import sys

from scripts.export import main

if __name__ == "__main__":
    sys.exit(main())
