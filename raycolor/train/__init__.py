"""`raycolor train`: one network on Ray Train."""
