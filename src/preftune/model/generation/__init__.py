"""Completions drawn from a model, and estimates of its KL to the reference."""
