"""Files to begin with, for those who have no checkout: sweeps, scripts of jobs, a cluster, a dashboard, a sample."""
