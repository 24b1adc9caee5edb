"""The proxy port: what an app speaks to."""
