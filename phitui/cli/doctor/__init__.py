"""`phitui doctor`: what this machine has, and what is missing."""

from phitui.cli.doctor.doctor import EXAMPLES, add_arguments, run

__all__ = ["EXAMPLES", "add_arguments", "run"]
