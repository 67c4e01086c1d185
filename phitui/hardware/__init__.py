"""What the machine does, as figures with a source."""
