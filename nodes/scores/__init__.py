"""The Smoothness Score and the ISTD Benchmark."""
