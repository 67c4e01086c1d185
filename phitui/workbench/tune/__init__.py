"""Runs the searches of autotune on a real engine or server, keeps and applies what they found."""
