"""Where upstream is: decided once from the configuration, never from a request."""
