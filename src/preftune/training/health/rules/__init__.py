"""Rules on the health of a run, by subject: a function, its thresholds and its row of texts side by side."""
