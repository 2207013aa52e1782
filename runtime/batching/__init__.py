"""Many texts into many files: a table of rows becomes a folder, whatever interrupts the work."""
