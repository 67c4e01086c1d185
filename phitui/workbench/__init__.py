"""What a user asks for, without a screen: the engine and all that uses it."""
