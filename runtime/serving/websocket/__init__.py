"""Text in, audio out over one WebSocket, in the protocol of vLLM-Omni."""
