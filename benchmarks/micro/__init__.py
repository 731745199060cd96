"""What do the pieces cost? Run by ``pytest benchmarks/micro``; no test depends on it."""
