"""Judges: whoever says which of two completions is better, behind one small interface."""
