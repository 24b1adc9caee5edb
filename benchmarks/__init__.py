"""Measurements that anyone can repeat; some modules are commands: `python -m benchmarks.compare`."""
