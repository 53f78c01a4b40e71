"""Training: the loop, its settings, and the run folders it writes."""
