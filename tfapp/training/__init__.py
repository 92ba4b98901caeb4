"""Training: one step under a tape, a loop that runs it, a controller around the loop."""
