"""`raycolor colorize`, the bulk job: `driver.py` plans, `actor.py` works, `shard.py` is one unit of work."""
