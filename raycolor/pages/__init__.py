"""Self-contained HTML pages of the jobs, in one shared look."""
