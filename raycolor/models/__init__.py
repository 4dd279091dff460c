"""Networks, one file each, and what they are trained and measured by."""
