"""The plan: groups of a step, their assignment to ranks, and the micro-batches of each rank."""
