"""The codec as graphs: decoder and encoder, whole signals and streams."""
