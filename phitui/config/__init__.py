"""Settings: their layers, their types, and servers and hosts among them."""
