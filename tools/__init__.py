"""Commands without a page that need the host: training and the benchmark on one device or many."""
