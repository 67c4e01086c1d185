"""What readings mean: roofline, energy, parts of memory, hints. Pure."""
