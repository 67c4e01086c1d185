"""The applications, and the actions that open screens and start work."""
