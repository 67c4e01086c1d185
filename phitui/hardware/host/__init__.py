"""The machine around the card: CPU, memory, processes, containers."""
