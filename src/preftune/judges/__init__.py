"""Judges: functions, reward models, endpoints and people that compare two completions, behind one interface."""
