"""Evaluation of a model: held-out preferences, samples, KL to the reference, win rates, label check."""
