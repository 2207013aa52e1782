"""How a language model is trained: settings, examples, loop."""
