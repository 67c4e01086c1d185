"""What is said to an engine and what it answers: messages, values, and the interface of a client."""
