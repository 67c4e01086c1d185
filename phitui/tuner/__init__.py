"""The search for the best batch size: pure, knows no engine."""
