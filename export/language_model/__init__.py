"""The language model as graphs: backbone, heads, speaker projection."""
