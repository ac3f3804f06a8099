"""Which workers run, for which model, and when they go."""
