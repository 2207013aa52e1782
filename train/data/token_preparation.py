"""From recordings to token files, part by part: the work of `train.prepare`.

In: its arguments. Out: the files that train/prepare.py describes. Each part is made by
train/data/utterance_preparation.py, and kept on disk until all of them are done; then
train/data/token_files.py writes the files.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from commands.errors import UserError
from commands.interruption import Interruption
from commands.next_step import print_next, quote
from commands.progress import progress
from formats.checkpoint.codec_config import find_codec_config
from formats.files.hashing import sha256_file
from formats.files.unfinished_work import begin_work, remove_work
from train.data.recording_folders import check_names
from train.data.token_files import token_file, write_token_files
from train.data.token_parts import (
    LeftOut,
    Part,
    drop_incomplete_parts,
    part_path,
    read_left_out,
    read_part,
    read_parts,
    write_part,
)
from train.data.utterance_preparation import PreparationTools, explain, find_fault, tokenize_part

if TYPE_CHECKING:
    from train.data.recordings import Recording
    from train.data.tokenization import Limits

RECORDINGS_PER_PART = 500


def prepare(arguments: argparse.Namespace) -> None:
    """Tokenize the recordings that no part holds so far, then write the token files.

    Raises:
        UserError: unusable input; nothing is written before the input has been checked.
    """
    streams = find_codec_config(arguments.codec).streams
    for heads in arguments.heads:
        if heads != 1:
            streams.frames_per_step(heads)
    recordings = [found for folder in arguments.audio for found in folder.find()]
    recordings = recordings[: arguments.limit]
    check_names(recordings)
    if arguments.strict:
        check_descriptions(recordings)
    tools = load_tools(arguments)
    parts = arguments.output / "parts"
    begin_work(parts, describe_inputs(arguments, recordings))
    tokenize_missing_parts(parts, recordings, tools, arguments)
    left_out = read_left_out(parts)
    tell_left_out(left_out, len(recordings))
    check_parts(parts, left_out, arguments.strict)
    write_token_files(parts, arguments.output, arguments.heads, arguments.embeddings, streams)
    remove_work(parts)
    print_next(
        "python -m train.lm --config lm.yaml --output my-model, with "
        f"{quote(token_file(arguments.output, arguments.heads[-1]))} in lm.yaml (docs/training.md)"
    )


def describe_inputs(
    arguments: argparse.Namespace, recordings: Sequence[Recording]
) -> dict[str, object]:
    """What a run must have in common with the one that it continues."""
    paths = "\n".join(str(recording.path) for recording in recordings)
    inputs = {
        "codec": digest_codec(arguments.codec),
        "recordings": hashlib.sha256(paths.encode(errors="surrogateescape")).hexdigest(),
        "frontend": [arguments.frontend, arguments.language],
        "limits": [arguments.min_seconds, arguments.max_seconds, arguments.min_dnsmos],
        "trim": arguments.trim,
    }
    names = [folder.name for folder in arguments.audio]
    return inputs | ({"names": names} if any(names) else {})


def digest_codec(folder: Path) -> str:
    """SHA-256 over the codec's files, in either layout."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("codec.*"), *folder.glob("ns3_facodec_*_v2.bin")]):
        digest.update(bytes.fromhex(sha256_file(path)))
    return digest.hexdigest()


def load_tools(arguments: argparse.Namespace) -> PreparationTools:
    """Load codec and frontend. Raises `UserError` if one of them is missing."""
    from runtime.text.frontends import make_frontend
    from train.codec_model.checkpoint import load_codec
    from train.device import check_device

    check_device(arguments.device, "--device")
    codec = load_codec(arguments.codec).to(arguments.device)
    frontend = make_frontend({"kind": arguments.frontend, "language": arguments.language})
    return PreparationTools(codec, make_limits(arguments), frontend, arguments.frontend != "none")


def make_limits(arguments: argparse.Namespace) -> Limits:
    from train.data.quality import make_dnsmos_filter
    from train.data.tokenization import Limits

    limits = Limits(arguments.min_seconds, arguments.max_seconds, arguments.trim)
    if arguments.min_dnsmos is None:
        return limits
    return replace(limits, refuse=make_dnsmos_filter(arguments.min_dnsmos))


def tokenize_missing_parts(
    folder: Path,
    recordings: Sequence[Recording],
    tools: PreparationTools,
    arguments: argparse.Namespace,
) -> None:
    """Make the missing parts. After an interruption, a message says where the others are kept."""
    left_out = 0
    stage = progress("tokenize", len(recordings), to_stderr=True)
    with Interruption(arguments.max_minutes) as interruption, stage as under_way:
        for start in range(0, len(recordings), RECORDINGS_PER_PART):
            chosen = recordings[start : start + RECORDINGS_PER_PART]
            path = part_path(folder, start // RECORDINGS_PER_PART)
            if not path.is_file():
                part = finish_part(path, chosen, tools, lambda: interruption.requested)
                left_out += len(part.left_out)
            if interruption.requested:
                break
            under_way.note(f"{left_out} left out" if left_out else "")
            under_way.advance(len(chosen))
    if interruption.noted:
        interruption.leave(f"{folder} keeps what is done; go on with: {arguments.command_line}")


def finish_part(
    path: Path, recordings: Sequence[Recording], tools: PreparationTools, stop: Callable[[], bool]
) -> Part:
    """Tokenize what an unfinished part lacks, and write the part.

    If `stop` returns true, what is done by then is written as an unfinished part.
    """
    unfinished = path.with_suffix(".unfinished")
    part = read_part(unfinished) if unfinished.is_file() else Part()
    rest = [recording for recording in recordings if recording.uttid not in part.names]
    part += tokenize_part(rest, tools, stop)
    whole = len(part.names) == len(recordings)
    write_part(path if whole else unfinished, part.in_order([r.uttid for r in recordings]))
    if whole:
        unfinished.unlink(missing_ok=True)
    return part


def tell_left_out(left_out: Sequence[LeftOut], total: int) -> None:
    """List the recordings that cannot be used."""
    for found in left_out:
        print(f"left out: {found.reason}", file=sys.stderr)
    if left_out:
        print(f"{len(left_out)} of {total} recordings left out", file=sys.stderr)


def check_descriptions(recordings: Sequence[Recording]) -> None:
    """Raise `UserError` for faults that can be found without reading audio."""
    left_out = [explain(found, fault) for found in recordings if (fault := find_fault(found))]
    tell_left_out(left_out, len(recordings))
    if left_out:
        raise UserError(f"--strict: {len(left_out)} recordings cannot be used; fix or remove them")


def check_parts(parts: Path, left_out: Sequence[LeftOut], strict: bool) -> None:
    """Raise `UserError` if there is nothing to write, or if `strict` and something was left out."""
    empty = next(read_parts(parts), None) is None
    if empty or (strict and left_out):
        drop_incomplete_parts(parts)
    if empty:
        raise UserError("no recording could be used, so there are no tokens")
    if strict and left_out:
        raise UserError(
            f"--strict: {len(left_out)} recordings cannot be used, such as {left_out[0].reason}; "
            "fix or remove them and give the command again, which repeats only their parts"
        )
