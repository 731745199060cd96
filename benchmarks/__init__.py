"""Benchmarks: one question per module, always beside a plain C program in the same placement."""

QUESTIONS = (
    "latency",
    "blocking",
    "outstanding",
    "cpu",
    "neighbour",
    "payload",
    "bulk",
    "mixed",
    "security",
)
"""The modules, in the order of the table."""
