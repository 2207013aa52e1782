"""Speech over a network: requests come in, audio goes out while it is made (extra `serve`)."""
