"""What every command shares: errors, streams, signals, arguments, progress. Needs no library."""
