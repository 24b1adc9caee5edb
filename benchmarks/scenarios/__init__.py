"""What is measured: calls under load, a process's life from its start, and what an app gains."""
