"""What every export proves about its graphs: against themselves, and against PyTorch."""
