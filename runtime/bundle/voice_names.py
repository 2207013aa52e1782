"""The names of a bundle's voices, the default first. Only the manifest is read for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.bundle.manifest import Manifest


def voice_names(manifest: Manifest) -> tuple[str, ...]:
    """Names for `voice=` and --voice: the default voice first, if there is one, then by name."""
    default = manifest.default_voice
    return tuple(sorted(manifest.voices, key=lambda name: (name != default, name)))


def print_voices(folder: Path) -> None:
    """Print the voices of a bundle, one on each line, and which one is the default.

    Raises:
        UserError: the folder is not a bundle.
    """
    from runtime.bundle.manifest import read_manifest

    manifest = read_manifest(folder)
    for name in voice_names(manifest):
        print(f"{name} (default)" if name == manifest.default_voice else name)
    if not manifest.voices:
        print(f"{folder}: has no voices; give a recording with --voice FILE", file=sys.stderr)
