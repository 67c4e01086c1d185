"""A chat: its turns, parameters and attachments, and how it is kept as a session."""
