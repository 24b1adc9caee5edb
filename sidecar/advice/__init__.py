"""Why something failed and what mends it: causes, how they are told apart, and their texts. No I/O."""
