"""Files and folders that appear whole or not at all, and strict readers of text, JSON and YAML."""
