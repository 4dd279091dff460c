"""`raycolor prepare`: photographs to a Lab dataset."""
