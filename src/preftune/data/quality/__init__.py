"""Faults of a data set: checks on prompt groups that need no model, and rules to clean by."""
