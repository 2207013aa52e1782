"""Writes what `pocket-tts serve` loads: random weights at a model's shapes, and a voice of noise.

    PYTHON -m benchmarks.serving.peers.pocket_files_worker FOLDER MODEL

In: the name of a configuration in the package, whose weights no package holds. Out: in the folder
the configuration, a tokenizer, `weights.safetensors` and `voice.safetensors`. The model never ends
by itself, so each text takes as long as the library allows. It needs pocket-tts.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.systems.pocket_worker import PROMPT_SECONDS, WEIGHT_STD, write_config

NEVER = -1e4  # a bias: the model's own threshold is far above


def write(folder: Path, model: str) -> None:
    """All files. The configuration comes last: without it nothing can be started."""
    import torch
    import yaml
    from pocket_tts import TTSModel, export_model_state
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    path = write_config(folder, model)
    torch.manual_seed(0)
    voice = TTSModel.load_model(config=path).eval()
    with torch.no_grad():
        for parameter in voice.parameters():
            parameter.normal_(0, WEIGHT_STD)
        voice.flow_lm.out_eos.bias.fill_(NEVER)
        noise = 0.1 * torch.randn(1, PROMPT_SECONDS * int(voice.sample_rate))
        state = voice.get_state_for_audio_prompt(noise)
    export_model_state(state, folder / "voice.safetensors")
    save_file(voice.state_dict(), folder / "weights.safetensors")
    config = yaml.safe_load(path.read_text("utf-8"))
    config["weights_path"] = str(folder.resolve() / "weights.safetensors")
    path.write_text(yaml.safe_dump(config), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2])
