"""The version of this project, written once: packages, `--version` and the wheel read it here."""

VERSION = "0.1.0"
