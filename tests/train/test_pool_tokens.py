"""A decoder's tokens: the codec's own, and in their place what was predicted of the speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from commands.errors import UserError
from formats.checkpoint.codec_config import CodecConfig, MelConfig
from formats.tokens import TokenizedUtterance, write_utterances
from runtime.audio.sound import read_recording
from tests.tiny_codec import tiny_codec_config
from tests.tiny_weights import make_codec
from train.codec_model.facodec import FACodec
from train.codec_training.audio_pool import AudioPool, Crops, load_pool
from train.codec_training.config import PredictedTokens
from train.codec_training.pool_tokens import PoolTokens
from train.data.recordings import find_recordings
from train.data.silence import find_speech

SAMPLE_RATE_HZ = 16_000

HOP = 200
LENGTHS = (50, 61, 72)  # frames
SILENCE = 12  # frames before the speech; twice as many after it
SPEECH = [slice(SILENCE - 4, length - 2 * SILENCE + 6) for length in LENGTHS]  # with its margins
SEEDS = range(200)

Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def codec() -> FACodec:
    return make_codec(
        tiny_codec_config(
            mel=MelConfig(bins=11),
            decoder_ratios=(5, 5, 4, 2),
            encoder_ratios=(2, 4, 5, 5),
            decoder_channels=16,
            encoder_channels=2,
        )
    )


@pytest.fixture(scope="module")
def pool() -> AudioPool:
    """Noise between silences, of one speaker."""
    random = np.random.default_rng(0)
    audio = []
    for length in LENGTHS:
        samples = np.zeros(length * HOP, np.int16)
        speech = slice(SILENCE * HOP, (length - 2 * SILENCE) * HOP)
        samples[speech] = random.integers(-9000, 9000, len(samples[speech]))
        audio.append(samples)
    return AudioPool(audio, ["anna"] * len(audio), HOP, ["u0", "u1", "u2"])


def whole(index: int) -> tuple[Crops, int]:
    """One crop, all of the recording."""
    return Crops(np.array([index]), np.array([0])), LENGTHS[index]


def own_frames(codec: FACodec, pool: AudioPool, index: int) -> np.ndarray:
    return PoolTokens(codec, pool).cut(*whole(index), seed=0)[0].numpy()


def write_predicted(
    path: Path, codec: FACodec, pool: AudioPool, change: Change, heads: int = 3
) -> PredictedTokens:
    """The codec's frames of the first two recordings' speech, changed."""
    utterances = [
        TokenizedUtterance(f"u{index}", "Hi.", change(own_frames(codec, pool, index)[speech]))
        for index, speech in enumerate(SPEECH[:2])
    ]
    write_utterances(path, utterances, heads)
    return PredictedTokens(str(path), heads)


def raise_by(amount: int) -> Change:
    return lambda frames: (frames + amount) % 1024


def test_predictions_like_the_codec_change_nothing(
    codec: FACodec, pool: AudioPool, tmp_path: Path
) -> None:
    predicted = write_predicted(tmp_path / "same.jsonl", codec, pool, raise_by(0))
    own, same = PoolTokens(codec, pool), PoolTokens(codec, pool, [predicted], 1.0)
    for step in range(20):
        crops = pool.draw(5, step, 4, 9)
        assert torch.equal(own.cut(crops, 9, step), same.cut(crops, 9, step))
        assert torch.equal(own.speakers(crops), same.speakers(crops))


def test_only_the_speech_is_predicted(codec: FACodec, pool: AudioPool, tmp_path: Path) -> None:
    predicted = write_predicted(tmp_path / "other.jsonl", codec, pool, raise_by(7), heads=6)
    tokens = PoolTokens(codec, pool, [predicted], 1.0)
    for index, speech in enumerate(SPEECH):
        expected = own_frames(codec, pool, index)
        if index < 2:  # nothing was predicted for the last one
            expected[speech] = (expected[speech] + 7) % 1024
        found = tokens.cut(*whole(index), seed=index)
        np.testing.assert_array_equal(found[0], expected)
    middle = tokens.cut(Crops(np.array([1, 0]), np.array([30, 4])), 13, seed=0)
    assert torch.equal(middle[0], tokens.cut(*whole(1), seed=0)[0, 30:43])
    assert torch.equal(middle[1], tokens.cut(*whole(0), seed=0)[0, 4:17])


def test_a_share_is_predicted_by_any_of_the_models(
    codec: FACodec, pool: AudioPool, tmp_path: Path
) -> None:
    files = [
        write_predicted(tmp_path / f"by{amount}.jsonl", codec, pool, raise_by(amount))
        for amount in (1, 2)
    ]
    tokens = PoolTokens(codec, pool, files, 0.4)
    place = SPEECH[0].start
    own = own_frames(codec, pool, 0)[place, 0]
    drawn = [int(tokens.cut(*whole(0), seed=seed)[0, place, 0] - own) % 1024 for seed in SEEDS]
    assert drawn == [int(tokens.cut(*whole(0), seed=s)[0, place, 0] - own) % 1024 for s in SEEDS]
    assert set(drawn) == {0, 1, 2}
    for amount, share in ((0, 0.6), (1, 0.2), (2, 0.2)):
        assert abs(drawn.count(amount) / len(SEEDS) - share) < 0.1


def test_predictions_of_another_length_are_told_and_left_out(
    codec: FACodec, pool: AudioPool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = iter((24, 34))  # of the 24 and 35 frames of speech
    mixed = write_predicted(
        tmp_path / "mixed.jsonl", codec, pool, lambda frames: 1023 - frames[: next(lengths)]
    )
    tokens = PoolTokens(codec, pool, [mixed], 1.0)
    assert "mixed.jsonl: 1 left out, of another length" in capsys.readouterr().err
    for index, changed in enumerate((True, False)):
        own = own_frames(codec, pool, index)
        found = tokens.cut(*whole(index), seed=0)[0].numpy()
        assert np.array_equal(own, found) != changed


def test_predictions_of_other_recordings_are_refused(
    codec: FACodec, pool: AudioPool, tmp_path: Path
) -> None:
    shorter = write_predicted(tmp_path / "short.jsonl", codec, pool, lambda frames: frames[1:])
    with pytest.raises(UserError, match=r"short\.jsonl: predicts nothing for these recordings"):
        PoolTokens(codec, pool, [shorter], 1.0)
    same = write_predicted(tmp_path / "same.jsonl", codec, pool, raise_by(0))
    strangers = AudioPool(pool.audio, ["anna"] * 3, HOP, ["v0", "v1", "v2"])
    with pytest.raises(UserError, match=r"same\.jsonl: predicts nothing for these recordings"):
        PoolTokens(codec, strangers, [same], 1.0)


def test_a_pool_hears_speech_where_the_file_does(tmp_path: Path) -> None:
    """To the bit, as a frame near the threshold of silence decides how long the speech is."""
    fading = np.exp(-np.linspace(0, 9, 40 * HOP)) * np.sin(np.arange(40 * HOP))
    soundfile.write(tmp_path / "u0.wav", fading, SAMPLE_RATE_HZ, subtype="PCM_16")
    loaded = load_pool(find_recordings(tmp_path), 0.001, CodecConfig(), crop_frames=9, seed=0)
    audio = read_recording(tmp_path / "u0.wav", rate_hz=SAMPLE_RATE_HZ)
    np.testing.assert_array_equal(loaded.whole(0), audio)
    assert find_speech(loaded.whole(0), HOP, SAMPLE_RATE_HZ) == find_speech(
        audio, HOP, SAMPLE_RATE_HZ
    )
    assert loaded.names == ["u0"]
