"""The models on this machine: which there are, and pulling, checking and removing them."""
