"""Which key does what: the actions, what [keys] in config.toml makes of them, and what is wrong with that."""
