"""Benchmarks: one question per module, always beside a plain C program in the same placement."""
