"""Lab datasets: photographs as Lab planes in Parquet shards, written by `prepare`, read by training and evaluation."""
