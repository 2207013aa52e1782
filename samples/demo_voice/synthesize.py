"""Let a teacher voice read sentences: the audio corpus that the demo voice is trained on.

In: a text file, one sentence a line.
Out: a folder of shards. A shard holds one FLAC file a sentence (16 kHz, mono, 16 bits) and
`metadata.jsonl`, one line a recording:

    {"file": "000042.flac", "uttid": "heart_000042", "speaker": "heart", "text": "The sentence.",
     "phonemes": "ðə sˈɛntəns.", "symbol_frames": [12, 5, …, 9]}

`symbol_frames` counts frames of 200 samples: silence before the first phoneme, every character of
`phonemes`, silence after the last. Their sum is the recording's length.

The teacher is hibari-tts (`pip install hibari-tts scipy onnx`), whose durations are exact. Its one
voice is "heart"; the others are heart with another pitch and another length of the vocal tract.
Sentences that it would split are left out. A shard appears under its name only when it is
complete, so a run that was cut off goes on where it stopped. Knows nothing of speech tokens.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np

from runtime.errors import UserError, run_cli

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 200
SENTENCES_PER_SHARD = 250
PEAK = 0.7
DURATION_NODE = "/Cast_32_output_0"  # whole teacher frames of 40 Hz for every input id
TEACHER_FRAME = 2  # a teacher frame in frames of 80 Hz


@dataclass(frozen=True)
class Timbre:
    """Factors on heart's fundamental frequency and on the frequencies of its formants."""

    pitch: float
    formants: float


TIMBRES = {
    "heart": Timbre(1.0, 1.0),
    "oak": Timbre(0.55, 0.9),  # as deep as a man's
    "reed": Timbre(1.25, 1.1),  # as high as a child's
}


class Teacher:
    """hibari's voice with one more output: how long each symbol lasts."""

    def __init__(self, speaker: str) -> None:
        import onnx
        import onnxruntime
        from hibari import Hibari

        self.speaker, self.timbre = speaker, TIMBRES[speaker]
        self.hibari = Hibari(threads=1)
        model = onnx.load(self.hibari.model_path)
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(DURATION_NODE, onnx.TensorProto.INT64, None)
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def phonemize(self, sentence: str) -> str | None:
        """The sentence in the teacher's alphabet, or None if the teacher would split it."""
        parts = self.hibari.phonemize(sentence)
        if len(parts) != 1:
            return None
        return "".join(symbol for symbol in parts[0] if symbol in self.hibari.vocab)

    def read(self, phonemes: str, seed: int) -> tuple[np.ndarray, list[int]]:
        """Audio int16 [n] at 16 kHz and the frames of: silence, each symbol, silence."""
        from hibari import dsp
        from scipy.signal import resample_poly  # type: ignore[import-untyped]

        ids = np.asarray([self.hibari.ids(phonemes)], np.int64)
        outputs = self.session.run(None, {"ids": ids, "speed": np.ones(1, np.float32)})
        symbol_frames = outputs[-1].reshape(-1) * TEACHER_FRAME
        controls = change_timbre([output[0] for output in outputs[:-1]], self.timbre)
        audio = resample_poly(dsp.synth(*controls, np.random.default_rng(seed)), 2, 3)
        assert len(audio) == symbol_frames.sum() * FRAME_SAMPLES, "durations and audio disagree"
        assert len(symbol_frames) == len(phonemes) + 2, "durations and phonemes disagree"
        audio = audio * (PEAK / max(float(np.abs(audio).max()), 1e-6))
        return (audio * 32767).astype(np.int16), symbol_frames.tolist()


def change_timbre(controls: list[np.ndarray], timbre: Timbre) -> list[np.ndarray]:
    """The same speech from another speaker. `controls` are what the vocoder reads: spectra float32
    [bins, frames] of several kinds, then the fundamental frequency in Hz, float32 [frames]."""
    *spectra, pitch = controls
    bins = np.arange(len(spectra[0]))
    source = np.minimum(np.rint(bins / timbre.formants), bins[-1]).astype(int)
    return [*(spectrum[source] for spectrum in spectra), pitch * timbre.pitch]


_teacher: Teacher | None = None  # one for each worker process


def start_worker(speaker: str) -> None:
    global _teacher
    _teacher = Teacher(speaker)


def synthesize_shard(job: tuple[Path, int, list[str]]) -> int:
    """Read one shard's sentences; returns how many recordings it holds."""
    folder, first_index, sentences = job
    assert _teacher is not None, "start_worker() runs first"
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # what a run that was cut off left
    partial.mkdir(parents=True)
    lines = [
        synthesize_sentence(_teacher, partial, index, sentence)
        for index, sentence in enumerate(sentences, first_index)
    ]
    written = [json.dumps(line, ensure_ascii=False) + "\n" for line in lines if line is not None]
    (partial / "metadata.jsonl").write_text("".join(written), encoding="utf-8")
    partial.rename(folder)
    return len(written)


def synthesize_sentence(
    teacher: Teacher, folder: Path, index: int, sentence: str
) -> dict[str, Any] | None:
    """Write one recording and return its metadata; None if the teacher cannot read it whole."""
    import soundfile

    phonemes = teacher.phonemize(sentence)
    if not phonemes:
        return None
    audio, symbol_frames = teacher.read(phonemes, seed=index)
    name = f"{index:06d}.flac"
    soundfile.write(folder / name, audio, SAMPLE_RATE_HZ)
    return {
        "file": name,
        "uttid": f"{teacher.speaker}_{index:06d}",
        "speaker": teacher.speaker,
        "text": sentence,
        "phonemes": phonemes,
        "symbol_frames": symbol_frames,
    }


def plan_shards(
    sentences: list[str], corpus: Path, skipped: int = 0
) -> list[tuple[Path, int, list[str]]]:
    """The shards that are still missing: (folder, index of its first sentence, sentences).

    `skipped` sentences come before the given ones.
    """
    jobs = []
    for first in range(0, len(sentences), SENTENCES_PER_SHARD):
        folder = corpus / f"shard_{first // SENTENCES_PER_SHARD:04d}"
        if not folder.is_dir():
            jobs.append((folder, skipped + first, sentences[first : first + SENTENCES_PER_SHARD]))
    return jobs


def require_packages(*names: str) -> None:
    for name in names:
        if find_spec(name) is None:
            raise UserError(
                f"the teacher voice needs the package {name}: pip install hibari-tts scipy onnx"
            )


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m samples.demo_voice.synthesize",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("sentences", type=Path, help="text file, one sentence a line")
    parser.add_argument("corpus", type=Path, help="folder to write (goes on if it exists)")
    parser.add_argument("--speaker", choices=TIMBRES, default="heart", help="(default heart)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--skip", type=int, default=0, help="leave out the first SKIP sentences")
    parser.add_argument("--limit", type=int, help="read only LIMIT sentences")
    return parser.parse_args(argv)


def synthesize_corpus(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    from tqdm import tqdm

    require_packages("hibari", "scipy", "onnx")
    sentences = arguments.sentences.read_text(encoding="utf-8").splitlines()
    sentences = sentences[arguments.skip :][: arguments.limit]
    jobs = plan_shards(sentences, arguments.corpus, arguments.skip)
    arguments.corpus.mkdir(parents=True, exist_ok=True)
    written = 0
    with (
        Pool(arguments.workers, start_worker, (arguments.speaker,)) as pool,
        tqdm(total=len(jobs), unit="shard") as bar,
    ):
        for count in pool.imap_unordered(synthesize_shard, jobs):
            written += count
            bar.update()
    print(f"{written} new recordings in {arguments.corpus}")


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(synthesize_corpus, argv)


if __name__ == "__main__":
    sys.exit(main())
