"""Files of a run and of the cache: plain values, tensors and tables in, verified copies out."""
