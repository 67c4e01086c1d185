"""What the engine and the machine do at this moment, for gauges and monitor."""
