"""The command `phitui`."""

from __future__ import annotations

import sys


def main() -> None:
    from phitui.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
