"""The engine of this project itself: the library of `native/engine`, for CPUs."""
