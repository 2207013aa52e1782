"""From a weight and what flows into it to a quantized weight."""
