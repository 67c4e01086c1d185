"""`phitui` as a command whose engine is the stand-in of rows_child.py."""

import sys

import phitui.engine.local.client as client
from phitui.cli.main import run

client.WORKER = "children.rows_child"
sys.exit(run(sys.argv[1:]))
