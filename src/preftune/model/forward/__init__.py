"""A packed batch and a model to values per token."""
