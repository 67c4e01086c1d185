"""Kept chats: one SQLite file, its search, and its exports."""
