"""Who may call, and what: Host and Origin, the caller key, the target, the policy. No I/O."""
