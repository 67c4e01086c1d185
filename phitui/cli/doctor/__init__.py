"""`phitui doctor`: what this machine has, and what is missing."""

from phitui.cli.doctor.doctor import add_arguments, run

__all__ = ["add_arguments", "run"]
