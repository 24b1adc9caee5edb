"""What the numbers are made of: processes, cores, the machine, and the statistics over rounds."""
