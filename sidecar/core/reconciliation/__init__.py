"""What became of writes whose outcome is unknown: reading the log, telling one write's story, judging its answer."""
