"""Runs pocket-tts at the shapes of an English model, with random weights: no package has its own.

    PYTHON -m benchmarks.systems.pocket_worker FOLDER MODEL

In: a folder for the configuration and a tokenizer that is trained on this clone's sentences, and
the name of a configuration in the package. Out: see `speaking`; noise, at the cost of speech. It
never stops by itself, so each text takes as long as the library allows; two threads share the one
processor. It needs pocket-tts and PyTorch.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.systems.speaking import serve_voice

WEIGHT_STD = 0.02
PROMPT_SECONDS = 5
SENTENCES = Path(__file__).parents[2] / "samples"


def write_config(folder: Path, model: str) -> Path:
    """The package's configuration without the addresses of weights, which would be downloaded."""
    import yaml
    from pocket_tts.utils.config import CONFIGS_DIR

    config: dict[str, Any] = yaml.safe_load((CONFIGS_DIR / f"{model}.yaml").read_text("utf-8"))
    del config["weights_path"], config["weights_path_without_voice_cloning"]
    table = config["flow_lm"]["lookup_table"]
    table["tokenizer"] = "tokenizers"  # of two libraries, the one that can be given any pieces
    table["tokenizer_path"] = str(folder.resolve() / "tokenizer.json")
    write_tokenizer(Path(table["tokenizer_path"]), table["n_bins"])
    path = folder / f"{model}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def write_tokenizer(path: Path, entries: int) -> None:
    """Pieces of words, so that a sentence has about as many tokens as with the real one."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    texts = [str(file) for file in sorted(SENTENCES.glob("**/*.txt"))]
    trainer = trainers.BpeTrainer(vocab_size=entries, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train(texts, trainer)
    missing = entries - tokenizer.get_vocab_size()
    tokenizer.add_tokens([f"<unused{number}>" for number in range(missing)])
    tokenizer.save(str(path))


class PocketVoice:
    """A model of random weights, and a voice of random noise."""

    def __init__(self, folder: str, model: str) -> None:
        import torch
        from pocket_tts import TTSModel

        torch.manual_seed(0)
        torch.set_num_threads(1)
        Path(folder).mkdir(parents=True, exist_ok=True)
        config = write_config(Path(folder), model)
        self._model = TTSModel.load_model(config=config, eos_threshold=float("inf"))
        self._model.eval()
        with torch.no_grad():
            for parameter in self._model.parameters():
                parameter.normal_(0, WEIGHT_STD)
        self.sample_rate_hz = int(self._model.sample_rate)
        noise = 0.1 * torch.randn(1, PROMPT_SECONDS * self.sample_rate_hz)
        self._state = self._model.get_state_for_audio_prompt(noise)

    def stream(self, text: str, seed: int) -> Iterator[NDArray[np.float32]]:
        for piece in self._model.generate_audio_stream(self._state, text):
            yield piece.numpy()


if __name__ == "__main__":
    serve_voice(PocketVoice, *sys.argv[1:])
