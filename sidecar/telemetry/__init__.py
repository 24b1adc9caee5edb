"""What the sidecar says of itself: metrics and log events."""
