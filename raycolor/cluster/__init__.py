"""What the jobs share of Ray."""
