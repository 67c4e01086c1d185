"""The command `phitui`."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    # Importing makes objects by the ten thousand and no garbage; looking for some costs a sixth of the time to the
    # first frame. Whoever has started up calls gc.enable().
    gc.disable()
    from phitui.cli.main import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
