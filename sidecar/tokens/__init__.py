"""Access tokens: who fetches one, when, and who waits for it."""
