"""What a proxy decides: which calls go to Mangopay, how often, and what their callers get."""
