"""What a profile says of the machine: what it is, what it can do, what else it was doing."""
