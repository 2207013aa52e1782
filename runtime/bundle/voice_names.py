"""The voices of an engine, by name.

In: a manifest, or an engine directory. Out: names, the default first. It loads nothing else.
"""

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


def print_voices(engine: str) -> None:
    """Print the voices of an engine directory, one a line, and which is the default.

    Raises:
        UserError: no engine directory.
    """
    from runtime.bundle.manifest import read_manifest

    manifest = read_manifest(Path(engine))
    for name in voice_names(manifest):
        print(f"{name} (default)" if name == manifest.default_voice else name)
    if not manifest.voices:
        print(f"{engine}: has no voices; give a recording with --voice FILE", file=sys.stderr)
