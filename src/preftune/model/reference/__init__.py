"""Reference log-probs: computed by a frozen model, or read from the cache."""
