"""``python -m m2t_fast``: the same as the command ``m2t-fast``."""

import sys

from m2t_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
