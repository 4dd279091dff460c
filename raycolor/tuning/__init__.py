"""Sweeps without Ray: the space and its points, what is best, what matters, the records, and pictures."""
