"""Figures of other machines, read from their exporters."""
