"""What the options of `runtime.batch` take. `--help` needs it, so it imports nothing."""

DEFAULT_ROWS = 8  # more gain little on a CPU, and have to wait for each other
FORMATS = ("wav", "flac", "opus", "mp3")
MANIFEST_FILE = "manifest.jsonl"
