"""phitui: a terminal console for running Phi-3 Mini on a GPU over SSH."""

__version__ = "0.1.0"
