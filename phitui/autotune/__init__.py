"""The searches for the best batch and the best concurrency: pure, they know no engine."""
