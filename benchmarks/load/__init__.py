"""The callers: a load generator in a process of its own, and what it measures."""
