"""What an app speaks to: sockets, connections, requests read, responses written, refusals. Knows nothing of tokens."""
