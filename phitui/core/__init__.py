"""What everything else stands on: text, errors, files, child processes."""
