"""What a user asks for: engine, hardware and store brought together."""
