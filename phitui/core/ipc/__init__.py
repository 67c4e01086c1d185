"""Child processes that speak small typed messages on their standard input and output."""
