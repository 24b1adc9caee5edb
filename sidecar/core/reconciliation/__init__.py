"""What became of writes whose outcome is unknown: reads the log, groups a write's lines, judges what is stored."""
