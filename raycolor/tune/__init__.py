"""`raycolor tune`: sweeps, and the report of what they tell."""
