"""One photograph in, one colorized photograph out: the whole chain but for storage and Ray."""
