"""Training without Ray: one update per network, and the loop over epochs."""
