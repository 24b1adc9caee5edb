"""Fuzzing of what reads hostile bytes: ``python -m tests.fuzz.run --seconds 60``, or ``make fuzz``."""
