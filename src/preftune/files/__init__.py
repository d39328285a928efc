"""Files: atomic writes, JSON records, numbers as text."""
