"""What HTTP/1.1 messages say: framing, headers, response heads, tunnels. No I/O."""
