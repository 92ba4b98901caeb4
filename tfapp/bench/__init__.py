"""Benchmarks: the same work done by several frameworks, timed in turn, one process each."""
