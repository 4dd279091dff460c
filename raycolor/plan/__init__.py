"""`raycolor plan`: what an archive holds, and what colorizing it will take."""
