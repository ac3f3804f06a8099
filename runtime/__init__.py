"""Engine workers, scheduling, dialogue and HTTP: from a request to tokens."""
