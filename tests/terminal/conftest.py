"""The real console in a pseudo-terminal."""

import pytest
from terminal import Console, command, environment


@pytest.fixture
def open_console(home):
    """Start consoles in the test's own home; all end with the test."""
    consoles = []

    def start(*arguments, columns=120, rows=40, **extra):
        console = Console(command(*arguments), environment(home, **extra), columns, rows, cwd=home)
        consoles.append(console)
        return console

    yield start
    for console in consoles:
        console.__exit__()
