"""Programs that run outside of this project's environment, each in a peer's own."""
