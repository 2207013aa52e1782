"""From a text to frames and from frames to speech: prompt, decoding, codec, synthesis, answers."""
