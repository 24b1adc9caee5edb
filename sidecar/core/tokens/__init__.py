"""The life of a token: its state, the policy, 401s, OAuth messages, the shared document. No I/O."""
