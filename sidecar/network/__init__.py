"""What all connections out of the sidecar share, whoever they lead to: names, sockets, trusted certificates."""
