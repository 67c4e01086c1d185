"""Slash commands: what can be typed into the prompt instead of a prompt."""
