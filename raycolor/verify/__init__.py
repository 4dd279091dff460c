"""Check a finished job's outputs against its outcomes."""
