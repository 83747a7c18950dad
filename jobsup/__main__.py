"""`jobsup`, and `python -m jobsup`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from jobsup.runtime import lazy

    lazy.spare()  # before whatever imports what is spared
    from jobsup.cli.services import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
