"""Pack the outputs and records of a finished job for a repository."""
