"""Wyoming, which Home Assistant speaks: text in, audio out over a connection of its own."""
