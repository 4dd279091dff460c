"""The only importers of Ray: sessions, and the jobs that run on them."""
