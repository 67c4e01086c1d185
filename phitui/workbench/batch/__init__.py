"""Runs a file of prompts: reads rows, keeps a journal, writes answers, goes on after a kill."""
