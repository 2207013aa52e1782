"""Engines that run a bundle's graphs, each behind the interface of `runtime.sessions.graph`."""
