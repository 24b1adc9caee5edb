"""A scriptable Mangopay, for demos and tests."""
