"""Readers of single formats: each file reads one kind and knows nothing of runs."""
