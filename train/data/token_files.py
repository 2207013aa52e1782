"""The files that train.prepare leaves: tokens, speaker embeddings and voices.

In: parts of prepared utterances (train/data/token_parts.py). Out: `ntp.jsonl` and `hN.jsonl`,
`speakers/` with the embeddings that their lines name, `voices/` with the mean embedding of each
speaker that has a name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from formats.speaker_files import SUFFIX, write_speaker
from formats.streams import Streams
from formats.tokens import TokenizedUtterance, write_utterances
from train.data.token_parts import PreparedUtterance, read_parts


def token_file(folder: Path, heads: int) -> Path:
    """Where the tokens for a model of `heads` heads are."""
    return folder / ("ntp.jsonl" if heads == 1 else f"h{heads}.jsonl")


def write_token_files(
    parts: Path, output: Path, heads: Sequence[int], embeddings: str, streams: Streams
) -> int:
    """One file per number of heads, and the embeddings; returns the number of utterances.

    `streams` belong to the codec that made the frames.
    """
    paths = name_embeddings(parts, output, embeddings)
    write_mean_voices(parts, output / "voices")
    count = 0
    for number in heads:
        path = token_file(output, number)
        lines = (make_line(utterance, paths(utterance), streams) for utterance in read_parts(parts))
        count = write_utterances(path, lines, number)
        print(f"{count} utterances in {path}")
    return count


def make_line(
    utterance: PreparedUtterance, embedding_path: str | None, streams: Streams
) -> TokenizedUtterance:
    return TokenizedUtterance(
        uttid=utterance.uttid,
        text=utterance.text,
        frames=utterance.frames,
        spk_emb_path=embedding_path,
        symbol_frames=utterance.symbol_frames,
        sentence=utterance.sentence,
        streams=streams,
    )


def name_embeddings(
    parts: Path, output: Path, scope: str
) -> Callable[[PreparedUtterance], str | None]:
    """Store the embeddings, and return a function that gives an utterance's path to its embedding.

    `scope` is "utterance", "speaker" (the mean of a speaker's recordings) or "none". A recording
    without a known speaker keeps its own embedding.
    """
    if scope == "none":
        return lambda utterance: None

    def owner(utterance: PreparedUtterance) -> str:
        known = scope == "speaker" and utterance.speaker is not None
        return str(utterance.speaker) if known else utterance.uttid

    write_means(((owner(u), u.embedding) for u in read_parts(parts)), output / "speakers")
    return lambda utterance: f"speakers/{owner(utterance)}{SUFFIX}"


def write_mean_voices(parts: Path, folder: Path) -> None:
    """The mean embedding of each speaker that has a name."""
    write_means(((u.speaker, u.embedding) for u in read_parts(parts) if u.speaker), folder)


def write_means(embeddings: Iterable[tuple[str, np.ndarray]], folder: Path) -> None:
    """One file for each name, with the mean of its embeddings float32 [C]."""
    rows = defaultdict(list)
    for name, embedding in embeddings:
        rows[name].append(embedding)
    for name, collected in rows.items():
        write_speaker(folder / f"{name}{SUFFIX}", np.mean(collected, axis=0))
