"""Measures an engine or a server at given batch sizes, and compares two results."""
