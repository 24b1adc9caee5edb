"""The rules, pure: no sockets, no clocks, no event loop. Everything that does I/O asks here what to do."""
