"""Recordings to speech tokens: `python -m train.prepare AUDIO --codec DIR --heads 3 --output DIR`.

In: folders of recordings (train/recordings.py has their two forms) and a codec. Out, in the
output folder: `ntp.jsonl` for `--heads 1` and `hN.jsonl` for N heads (train/tokens.py), in the
order of the recordings, `speakers/` with the speaker embeddings that the lines name, relative to
the output folder, and `voices/` with the mean embedding of each known speaker: voices for the
runtime. Recordings that cannot be used are told and counted.

Work is saved in parts, so the same command goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command_line import CommandParser
from runtime.errors import UserError, run_cli

if TYPE_CHECKING:
    import numpy as np

    from runtime.text import Frontend
    from train.facodec import FACodec
    from train.recordings import Recording
    from train.token_parts import PreparedUtterance
    from train.tokenization import Limits, TokenizedRecording
    from train.tokens import TokenizedUtterance

RECORDINGS_PER_PART = 500
EMBEDDING_SCOPES = ("utterance", "speaker", "none")
SPEAKER_TENSOR = "speaker"


def prepare(arguments: argparse.Namespace) -> None:
    """Tokenize what no part holds yet, then write the token files. Raises `UserError`."""
    from train.recordings import find_recordings
    from train.token_parts import check_plan
    from train.tokens import frames_per_step

    for heads in arguments.heads:
        if heads != 1:
            frames_per_step(heads)
    recordings = [found for folder in arguments.audio for found in find_recordings(folder)]
    recordings = recordings[: arguments.limit]
    check_names(recordings)
    parts = arguments.output / "parts"
    check_plan(parts, describe_plan(arguments, recordings))
    tokenize_missing_parts(parts, recordings, arguments)
    count = write_token_files(parts, arguments)
    shutil.rmtree(parts)
    if count < len(recordings):
        print(
            f"{len(recordings) - count} of {len(recordings)} recordings left out", file=sys.stderr
        )


def check_names(recordings: Sequence[Recording]) -> None:
    """Names become file names and must differ. Raises `UserError` naming one that does not do."""
    seen: set[str] = set()
    for recording in recordings:
        for name in (recording.uttid, recording.speaker or "unknown"):
            if name.startswith(".") or set(name) & set("/\\\0"):
                raise UserError(f"{recording.path}: {name!r} cannot be a file name")
        if recording.uttid in seen:
            raise UserError(f"{recording.path}: another recording is named {recording.uttid!r} too")
        seen.add(recording.uttid)


def describe_plan(
    arguments: argparse.Namespace, recordings: Sequence[Recording]
) -> dict[str, object]:
    """What all parts must have in common."""
    paths = "\n".join(str(recording.path) for recording in recordings)
    return {
        "codec": digest_codec(arguments.codec),
        "recordings": hashlib.sha256(paths.encode()).hexdigest(),
        "frontend": [arguments.frontend, arguments.language],
        "limits": [arguments.min_seconds, arguments.max_seconds, arguments.min_dnsmos],
        "trim": arguments.trim,
    }


def digest_codec(folder: Path) -> str:
    """SHA-256 over the codec's files, in either layout."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("codec.*"), *folder.glob("ns3_facodec_*_v2.bin")]):
        with path.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def tokenize_missing_parts(
    folder: Path, recordings: Sequence[Recording], arguments: argparse.Namespace
) -> None:
    from tqdm import tqdm

    from runtime.audio import SAMPLE_RATE_HZ
    from runtime.text import make_frontend
    from train.codec_checkpoint import load_codec
    from train.device import check_device
    from train.token_parts import part_path, write_part

    check_device(arguments.device, "--device")
    codec = load_codec(arguments.codec).to(arguments.device)
    if codec.config.sample_rate_hz != SAMPLE_RATE_HZ:
        raise UserError(f"{arguments.codec}: works at another rate than {SAMPLE_RATE_HZ} Hz")
    frontend = make_frontend({"kind": arguments.frontend, "language": arguments.language})
    limits = make_limits(arguments)
    with tqdm(total=len(recordings), unit="recording") as bar:
        for start in range(0, len(recordings), RECORDINGS_PER_PART):
            chosen = recordings[start : start + RECORDINGS_PER_PART]
            path = part_path(folder, start // RECORDINGS_PER_PART)
            if not path.is_file():
                use_phonemes = arguments.frontend != "none"
                write_part(path, tokenize_part(codec, chosen, limits, frontend, use_phonemes))
            bar.update(len(chosen))


def make_limits(arguments: argparse.Namespace) -> Limits:
    from train.quality import make_dnsmos_filter
    from train.tokenization import Limits

    limits = Limits(arguments.min_seconds, arguments.max_seconds, arguments.trim)
    if arguments.min_dnsmos is None:
        return limits
    return replace(limits, refuse=make_dnsmos_filter(arguments.min_dnsmos))


def tokenize_part(
    codec: FACodec,
    recordings: Sequence[Recording],
    limits: Limits,
    frontend: Frontend,
    use_phonemes: bool,
) -> list[PreparedUtterance]:
    """The usable ones of `recordings`, in their order; the others are told."""
    from tqdm import tqdm

    from train.tokenization import tokenize_recordings

    def tell(recording: Recording, why: str) -> None:
        where = str(recording.path)
        tqdm.write(f"left out: {why if where in why else f'{where}: {why}'}", file=sys.stderr)

    spoken = [recording for recording in recordings if recording.text]
    for recording in recordings:
        if not recording.text:
            tell(recording, "has no text")
    utterances = {}
    for found in tokenize_recordings(codec, spoken, limits, tell):
        try:
            utterances[found.recording.uttid] = describe_utterance(found, frontend, use_phonemes)
        except UserError as error:
            tell(found.recording, str(error))
    return [utterances[r.uttid] for r in spoken if r.uttid in utterances]


def describe_utterance(
    found: TokenizedRecording, frontend: Frontend, use_phonemes: bool
) -> PreparedUtterance:
    """Phonemes come from the metadata if it has them, else from the frontend; without a
    frontend the text is the spelling. Durations belong to the phonemes, or else to the spelling."""
    from train.token_parts import PreparedUtterance

    recording = found.recording
    assert recording.text is not None, "recordings without text are left out before"
    phonemes = recording.phonemes
    aligned = use_phonemes == bool(phonemes)
    return PreparedUtterance(
        uttid=recording.uttid,
        text=phonemes if use_phonemes and phonemes else frontend(recording.text),
        sentence=recording.text if use_phonemes else None,
        speaker=recording.speaker,
        symbol_frames=found.symbol_frames if aligned else None,
        frames=found.frames,
        embedding=found.speaker,
    )


def write_token_files(parts: Path, arguments: argparse.Namespace) -> int:
    """One file per number of heads, and the embeddings; returns the number of utterances."""
    from train.token_parts import read_parts
    from train.tokens import write_utterances

    paths = name_embeddings(parts, arguments.output, arguments.embeddings)
    write_voices(parts, arguments.output / "voices")
    count = 0
    for heads in arguments.heads:
        path = arguments.output / ("ntp.jsonl" if heads == 1 else f"h{heads}.jsonl")
        lines = (make_line(utterance, paths(utterance)) for utterance in read_parts(parts))
        count = write_utterances(path, lines, heads)
        print(f"{count} utterances in {path}")
    if not count:
        raise UserError("no recording could be used, so there are no tokens")
    return count


def make_line(utterance: PreparedUtterance, embedding_path: str | None) -> TokenizedUtterance:
    from train.tokens import TokenizedUtterance

    return TokenizedUtterance(
        uttid=utterance.uttid,
        text=utterance.text,
        frames=utterance.frames,
        spk_emb_path=embedding_path,
        symbol_frames=utterance.symbol_frames,
        sentence=utterance.sentence,
    )


def name_embeddings(
    parts: Path, output: Path, scope: str
) -> Callable[[PreparedUtterance], str | None]:
    """Store the embeddings, one a recording or the mean of a speaker's recordings; returns
    what gives an utterance's path. Without a known speaker a recording stands for itself."""
    from train.token_parts import read_parts

    if scope == "none":
        return lambda utterance: None

    def owner(utterance: PreparedUtterance) -> str:
        known = scope == "speaker" and utterance.speaker is not None
        return str(utterance.speaker) if known else utterance.uttid

    write_means(((owner(u), u.embedding) for u in read_parts(parts)), output / "speakers")
    return lambda utterance: f"speakers/{owner(utterance)}.safetensors"


def write_voices(parts: Path, folder: Path) -> None:
    """The mean embedding of each speaker that has a name."""
    from train.token_parts import read_parts

    write_means(((u.speaker, u.embedding) for u in read_parts(parts) if u.speaker), folder)


def write_means(embeddings: Iterable[tuple[str, np.ndarray]], folder: Path) -> None:
    """One file for each name, with the mean of its embeddings float32 [C]."""
    import numpy as np

    rows = defaultdict(list)
    for name, embedding in embeddings:
        rows[name].append(embedding)
    for name, collected in rows.items():
        write_speaker(folder / f"{name}.safetensors", np.mean(collected, axis=0))


def write_speaker(path: Path, embedding: np.ndarray) -> None:
    """A safetensors file with the tensor "speaker", float32 [C]: a voice for the runtime too."""
    from safetensors.numpy import save

    from runtime.files import write_atomically

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save({SPEAKER_TENSOR: embedding.astype("float32")}))


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m train.prepare", description=(__doc__ or "").splitlines()[0].split(":")[0]
    )
    parser.add_argument("audio", type=Path, nargs="+", help="folders of recordings")
    parser.add_argument("--codec", type=Path, required=True, help="folder of the codec")
    parser.add_argument(
        "--heads", type=int, nargs="+", required=True, help="1 (next-token) or multiples of 3"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--frontend", choices=("none", "hibari"), default="none", help="write text as phonemes"
    )
    parser.add_argument("--language", default="en-us", help="of the frontend (default en-us)")
    parser.add_argument(
        "--embeddings",
        choices=EMBEDDING_SCOPES,
        default="utterance",
        help="a speaker embedding per utterance (default), their mean per speaker, or none",
    )
    parser.add_argument("--min-dnsmos", type=float, help="leave out worse recordings (3.5)")
    parser.add_argument("--min-seconds", type=float, default=0.3)
    parser.add_argument("--max-seconds", type=float, default=30.0)
    parser.add_argument(
        "--no-trim", dest="trim", action="store_false", help="keep silence at both ends"
    )
    parser.add_argument("--limit", type=int, help="use only the first LIMIT recordings")
    parser.add_argument("--device", default="cpu", help="torch device for the codec")
    return parser.parse_args(argv)


def prepare_from_arguments(argv: Sequence[str] | None) -> None:
    prepare(parse_arguments(argv))


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(prepare_from_arguments, argv)


if __name__ == "__main__":
    sys.exit(main())
