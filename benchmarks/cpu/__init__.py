"""The engines for CPUs beside each other, and beside what the machine can do."""
