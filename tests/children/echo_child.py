"""Children for the tests of phitui.core.ipc: each `main` is one way to behave."""

import os
import subprocess
import sys
import threading

from phitui.core.ipc.child import Channel
from phitui.core.ipc.messages import Failure, Progress


def main():
    """Sends every message back; some texts ask for misbehaviour."""
    channel = Channel(Progress | Failure)
    while (message := channel.receive()) is not None:
        if message.text == "crash":
            print("about to crash", file=sys.stderr, flush=True)
            os.abort()
        if message.text == "print":
            print("this goes to the log, not into the channel")
            os.system("echo a child prints too")
        if message.text == "garbage":
            os.write(channel._out, b"\x08\x00\x00\x00notvalid")
        if message.text == "hang":
            subprocess.Popen(["sleep", "600"])
            threading.Event().wait()
        channel.send(message)
