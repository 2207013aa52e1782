"""Reports of many devices as one page: measured figures, and the least that others can take."""
