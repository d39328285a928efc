"""Completions of a model, and estimates of its KL to the reference."""
