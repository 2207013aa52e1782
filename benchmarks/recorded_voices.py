"""How much silence, noise and another level change the voice of a recording.

In: a bundle, and recordings of its voices in folders with the names of the voices, as
`samples.demo_voice.synthesize` makes them. Out: a table. Every recording is changed, written to a
file and used as a voice, as with `--voice FILE`. A row shows how far the embedding moves at most,
as a share of the distance to the nearest other voice. With `--say`, it also shows how often the
speech is most similar to the right speaker.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from commands.arguments import CommandParser, command_parser
from commands.errors import SpeechWarning, UserError
from commands.extras import importing
from commands.options import add_count, add_engine
from commands.run import run_command
from commands.tables import markdown_head, markdown_row

with importing():
    import numpy as np
    import soundfile

RATE_HZ = 16_000
Change = Callable[[np.ndarray], np.ndarray]  # float32 [n] -> float32 or int16 [m]


def silence(before: float, after: float, noise_db: float | None = None) -> Change:
    """Seconds of silence around a recording, digital or of white noise."""

    def change(audio: np.ndarray) -> np.ndarray:
        level = 0.0 if noise_db is None else 10 ** (noise_db / 20)
        parts = [
            level * np.random.default_rng(seed).standard_normal(round(seconds * RATE_HZ))
            for seed, seconds in enumerate((before, after))
        ]
        return np.concatenate([parts[0], audio, parts[1]]).astype(np.float32)

    return change


def louder(gain_db: float, bits: int | None = None) -> Change:
    """The recording at another level, in floats or in 16 bits."""

    def change(audio: np.ndarray) -> np.ndarray:
        scaled = (audio * 10 ** (gain_db / 20)).astype(np.float32)
        return scaled if bits is None else to_16_bits(scaled)

    return change


def to_16_bits(audio: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(audio, -1, 1) * 32_767).astype(np.int16)


def under_noise(noise_db: float) -> Change:
    """White noise over the whole recording, and a second of noise before and after it."""

    def change(audio: np.ndarray) -> np.ndarray:
        padded = np.pad(audio, RATE_HZ)
        noise = np.random.default_rng(0).standard_normal(len(padded))
        return (padded + 10 ** (noise_db / 20) * noise).astype(np.float32)

    return change


def through_telephone(audio: np.ndarray) -> np.ndarray:
    import soxr

    return soxr.resample(soxr.resample(audio, RATE_HZ, RATE_HZ // 2), RATE_HZ // 2, RATE_HZ)


# Changes that must not matter.
CHANGES: dict[str, Change] = {
    "0.1 s of silence around": silence(0.1, 0.1),
    "1 s before": silence(1, 0),
    "3 s after": silence(0, 3),
    "3 s around": silence(3, 3),
    "0.2 s of noise at −60 dB around": silence(0.2, 0.2, -60),
    "3 s of noise at −60 dB around": silence(3, 3, -60),
    "1 s of noise at −50 dB around": silence(1, 1, -50),
    "0.2 s of noise at −40 dB around": silence(0.2, 0.2, -40),
    "3 s of noise at −40 dB around": silence(3, 3, -40),
    "−30 dB": louder(-30),
    "−30 dB in 16 bits": louder(-30, 16),
    "−20 dB in 16 bits": louder(-20, 16),
    "+6 dB": louder(6),
}
# Changes that do matter, and cause a warning.
FAULTS: dict[str, Change] = {
    "+6 dB in 16 bits (clipped)": louder(6, 16),
    "+12 dB in 16 bits (clipped)": louder(12, 16),
    "noise at −80 dB over all of it": under_noise(-80),
    "noise at −70 dB over all of it": under_noise(-70),
    "noise at −60 dB over all of it": under_noise(-60),
    "noise at −40 dB over all of it": under_noise(-40),
    "through a telephone": through_telephone,
}


class Measurement:
    """An engine, its voices and their recordings."""

    def __init__(self, engine: Path, references: Path, recordings: int) -> None:
        from runtime import TTS
        from train.data.recordings import find_recordings

        self.tts = TTS.load(engine, threads=1)
        names = sorted(path.name for path in references.iterdir() if path.is_dir())
        self.voices = {name: self.tts.speaker(name) for name in names}
        if len(self.voices) < 2:
            raise UserError(f"{references}: needs folders of recordings of two voices or more")
        self.audio = {
            name: [
                soundfile.read(found.path, dtype="float32")[0]
                for found in find_recordings(references / name)[:recordings]
            ]
            for name in names
        }
        self.plain = {name: [self.take(a)[0] for a in self.audio[name]] for name in names}

    def take(self, audio: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """The voice of a recording, and the warnings about it."""
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", SpeechWarning)
            path = Path(folder) / "voice.wav"
            subtype = "PCM_16" if audio.dtype == np.int16 else "FLOAT"
            soundfile.write(path, audio, RATE_HZ, subtype=subtype)
            return self.tts.speaker(path), [str(warning.message) for warning in told]

    def measure(self, change: Change, judge: Any = None) -> dict[str, Any]:
        """One row of the table. `moved`: the largest share for each voice, as text. The counts are
        of recordings whose voice is nearest to the right one (`right`), is recognised in speech
        (`heard`), causes a warning (`told`) or is `refused`."""
        row: dict[str, Any] = {"moved": {}, "right": 0, "heard": 0, "told": 0, "refused": 0}
        for name, recordings in self.audio.items():
            shares = []
            for audio, plain in zip(recordings, self.plain[name], strict=True):
                try:
                    voice, told = self.take(change(audio))
                except UserError:
                    row["refused"] += 1
                    continue
                shares.append(float(np.linalg.norm(voice - plain)) / self._to_nearest(name))
                row["told"] += bool(told)
                row["right"] += self._nearest(voice) == name
                row["heard"] += judge is not None and judge(voice) == name
            row["moved"][name] = f"{max(shares):.2f}" if shares else "–"
        return row

    def _to_nearest(self, name: str) -> float:
        own = self.voices[name]
        return min(float(np.linalg.norm(own - v)) for n, v in self.voices.items() if n != name)

    def _nearest(self, voice: np.ndarray) -> str:
        return min(self.voices, key=lambda name: float(np.linalg.norm(voice - self.voices[name])))


def make_judge(measurement: Measurement, references: Path, text: str) -> Callable[[Any], str]:
    """A function that says a text in a voice and names the most similar speaker, by a
    speaker-verification network (evaluation.speaker_similarity)."""
    from evaluation.speaker_similarity import SpeakerEncoder, read_references
    from runtime import Sampling

    encoder = SpeakerEncoder()
    known = read_references(references, encoder.embed)

    def judge(voice: np.ndarray) -> str:
        spoken = measurement.tts.synthesize(text, voice=voice, sampling=Sampling(seed=0))
        likeness = known.similarities(encoder.embed(spoken.audio))
        return max(likeness, key=likeness.__getitem__)

    return judge


def run(arguments: argparse.Namespace) -> None:
    """Measure all changes; a row is printed as soon as it is known."""
    measurement = Measurement(arguments.engine, arguments.references, arguments.recordings)
    judge = None
    if arguments.say:
        judge = make_judge(measurement, arguments.references, arguments.say)
    names = list(measurement.voices)
    titles = ["change", *names, "nearest", "heard", "told", "refused"]
    print("".join(markdown_head(titles)), end="")
    for change, apply in {"none": lambda audio: audio, **CHANGES, **FAULTS}.items():
        row = measurement.measure(apply, judge)
        moved = [row["moved"][name] for name in names]
        heard = "–" if judge is None else str(row["heard"])
        counts = [str(row["right"]), heard, str(row["told"]), str(row["refused"])]
        print(markdown_row([change, *moved, *counts]), end="", flush=True)


def make_parser() -> CommandParser:
    parser = command_parser(
        "benchmarks.recorded_voices",
        "Measure how far silence, noise and level move the voice of a recording.",
    )
    add = parser.add_argument
    add("references", type=Path, metavar="DIR", help="folder with a folder for each voice")
    add_engine(parser)
    add_count(parser, "--recordings", "recordings of each voice", default=5)
    add("--say", metavar="TEXT", help="say this in each voice and judge who it is")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
