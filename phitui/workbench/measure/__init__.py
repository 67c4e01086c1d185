"""Probes of an engine or a server, which tuner and bench share."""
