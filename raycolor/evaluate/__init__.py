"""`raycolor evaluate`: checkpoints compared on the same photographs."""
