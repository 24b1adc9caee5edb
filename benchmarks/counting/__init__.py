"""Instructions instead of time: what valgrind's callgrind counts, and what that may become."""
