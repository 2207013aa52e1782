"""What every command shares: errors, streams, signals, options, progress, tables; no library."""
