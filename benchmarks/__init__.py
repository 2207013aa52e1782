"""What costs how much, measured: one command for each table in the docs."""
