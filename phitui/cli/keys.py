"""`phitui keys`: every action with its id, its key and its default."""

from __future__ import annotations

import argparse
import json
import sys

from phitui.cli.markdown import columns
from phitui.cli.output import narrate, styled, write
from phitui.config.layers import Config
from phitui.core.errors import ExitCode

EXAMPLES = """  phitui keys
  phitui keys --json | jq .problems    what is wrong with [keys] in config.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object with all actions and what is wrong")


def run(config: Config, args: argparse.Namespace) -> int:
    """Print all actions on stdout, and what is wrong with [keys] on stderr. Returns 0, or 1 where something is."""
    from phitui.tui.keys.judge import in_force, problems
    from phitui.tui.keys.names import written

    actions = in_force(config.keys)
    wrong = problems(config.keys)
    if args.json:
        rows = [
            {
                "id": one.action.id,
                "place": one.action.place,
                "does": one.action.about,
                "keys": list(one.keys),
                "default": list(one.action.keys),
            }
            for one in actions
        ]
        write(json.dumps({"actions": rows, "problems": wrong}, ensure_ascii=False) + "\n")
    else:
        table: list[tuple[str, ...]] = [("id", "keys", "default", "what it does")]
        for one in actions:
            keys, default = (" ".join(map(written, keys)) or "none" for keys in (one.keys, one.action.keys))
            about = f"{one.action.place}: {one.action.about}"
            table.append((one.action.id, keys, default if one.changed else "", about))
        heads, *below = columns(table)
        lines = [styled(heads, "bold"), *below] if sys.stdout.isatty() else map("\t".join, table[1:])
        write("".join(line + "\n" for line in lines))
    for line in wrong:
        narrate(f"phitui: {line}")
    return int(ExitCode.FAILED if wrong else ExitCode.DONE)
