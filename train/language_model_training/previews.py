"""How a model in training sounds and what its attention looks at, for TensorBoard.

In: the model, validation examples and a writer. Out: pictures of the guided layers' attention, and
speech, at every evaluation. Few utterances are used, so previews cost little. They draw no random
numbers of the training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from commands.errors import UserError
from formats.streams import Streams
from train.codec_model.checkpoint import load_codec
from train.data.examples import NO_GUIDE, Example
from train.language_model.checkpoint import LanguageModel
from train.language_model.generate import DecodingOptions, generate_frames
from train.language_model_training.dataset import read_speaker
from train.language_model_training.guided_attention import AttentionProbe
from train.language_model_training.settings import SpeechPreview

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_PIXELS = 4  # a side of each probability


def find_guided(examples: Sequence[Example]) -> Example | None:
    """The first example with known symbols; its attention is drawn."""
    return next((e for e in examples if e.guide is not None and e.guide.max() > NO_GUIDE), None)


def attention_pictures(probe: AttentionProbe, example: Example) -> Iterator[tuple[str, np.ndarray]]:
    """A name and a picture, float [height, width] from 0 to 1, of each guided layer and head.

    A picture has a row for each step and a column for each position of the text. It shows square
    roots, which make faint attention visible.
    """
    speech = np.flatnonzero(example.speech_mask)
    rows = slice(speech[0] - 1, speech[-1])  # the positions that predict the steps
    for layer, heads in zip(sorted(set(probe.layers)), probe.probabilities, strict=True):
        for head, probabilities in enumerate(heads[0]):
            shown = probabilities[rows, : speech[0]].float().sqrt().cpu().numpy()
            yield f"layer {layer}, head {head}", np.kron(shown, np.ones((_PIXELS, _PIXELS)))


class SpokenPreview:
    """Speaks the texts of some validation examples. `sampling` holds keys of `SamplingSettings`.

    Raises:
        UserError: a codec of other streams than the model's.
    """

    def __init__(self, settings: SpeechPreview, sampling: dict[str, Any], streams: Streams) -> None:
        self._codec = load_codec(Path(settings.codec))
        if self._codec.config.streams != streams:
            raise UserError(
                f"speech_preview: {settings.codec} has streams of {self._codec.config.streams}, "
                f"but the tokens have streams of {streams}; name the codec that made the tokens"
            )
        self._sampling = sampling
        self._seconds, self._utterances = settings.seconds, settings.utterances
        self._voice = None
        if settings.voice is not None:
            channels = self._codec.config.speaker_channels
            self._voice = read_speaker(Path(settings.voice), channels)

    def write(
        self, model: LanguageModel, examples: Sequence[Example], writer: SummaryWriter, step: int
    ) -> None:
        """Add the speech of each of them to `writer`."""
        for number, example in enumerate(self._spoken(model, examples)):
            audio = self._speak(model, example)
            if len(audio):  # an untrained model may end at once
                rate_hz = self._codec.config.sample_rate_hz
                writer.add_audio(f"speech/{number}", audio, step, sample_rate=rate_hz)

    def _spoken(self, model: LanguageModel, examples: Sequence[Example]) -> list[Example]:
        """The first examples in which speech follows a text."""
        start = model.tokens.start
        return [
            example
            for example in examples
            if example.speech_mask.any()
            and example.token_ids[example.speech_mask.argmax() - 1, 0] == start
            and example.loss_mask[example.speech_mask.argmax()]
        ][: self._utterances]

    @torch.no_grad()
    def _speak(self, model: LanguageModel, example: Example) -> torch.Tensor:
        """Samples float32 [n]."""
        prompt = example.token_ids[: example.speech_mask.argmax(), 0].tolist()
        voice = example.speaker if self._voice is None else self._voice
        assert voice is not None, "settings without a voice are refused for such models"
        speaker = torch.from_numpy(voice)
        streams = model.geometry.streams
        tokens = self._seconds * streams.frames_per_second * streams.count
        options = DecodingOptions(
            **self._sampling, max_steps=max(1, round(tokens / model.geometry.heads))
        )
        aware = model.geometry.spk_aware
        frames = generate_frames(model, prompt, speaker if aware else None, options).frames
        if not len(frames):
            return torch.zeros(0)
        return self._codec.decode(frames[None].clone(), speaker[None]).flatten()
