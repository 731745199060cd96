"""The rudp side of the comparisons: ``python -m benchmarks.programs server|echo|... [options]``."""
