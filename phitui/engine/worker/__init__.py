"""The engine's own process: it loads the model, generates, and measures."""
