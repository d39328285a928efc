"""Evaluation of a model: preferences on held-out data, samples, distance from the reference, win rates."""
