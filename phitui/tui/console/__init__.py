"""What stands between the console's prompt and its chat."""
