"""Sums of metrics, intervals and estimates."""
