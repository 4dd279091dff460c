"""Sign the outputs of a finished job with Content Credentials (C2PA)."""
