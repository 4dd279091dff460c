"""Look at a finished job's photographs and decide about each."""
