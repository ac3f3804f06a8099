"""`python -m corral` and the script `corral`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line."""
    from .cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
