"""Networks of others for raycolor, and those of raycolor for others: the commands `import` and `export`."""
