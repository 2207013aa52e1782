"""Bundles for the native engine: weights packed for its kernels (docs/native-engine.md)."""
