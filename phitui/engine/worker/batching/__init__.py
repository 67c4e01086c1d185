"""Runs many rows at once: lays them out in waves, schedules them, bounds their memory."""
