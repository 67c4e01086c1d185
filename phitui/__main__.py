"""The command `phitui`."""

from __future__ import annotations

import gc
import os
import sys

from phitui.core.leaving import heed, is_leaving


def main() -> None:
    heed(lambda number: os._exit(128 + number))  # there is nothing yet to tidy up
    # Importing makes objects by the ten thousand and no garbage; looking for some costs a sixth of the time to the
    # first frame. Whoever has started up calls gc.enable().
    gc.disable()
    from phitui.cli.main import run

    status = run(sys.argv[1:])
    if is_leaving():  # Python would wait for threads, and write out what it holds for a pipe that nobody reads
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
