"""What many tests need: waiting for a condition, and a workbench that tells what it was told."""
