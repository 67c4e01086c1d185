"""The console's end of the engine on this machine: starts its process and watches it."""
