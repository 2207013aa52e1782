"""A profile's utterances as a trace for ui.perfetto.dev: Perfetto's protobuf, written by hand.

In: a report. Out: a file of TracePackets (perfetto/trace/trace_packet.proto, track_event.proto). A
subject is a process. Its threads have the stages as slices; a track of the player has the chunks as
slices, deadlines and underruns as instants; a counter says how much audio waits.

Perfetto also reads Chrome's JSON events, but there a counter has no unit, and a track that is no
thread has to pretend that it is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from formats.files.atomic import write_atomically
from runtime.profiling.plausible import require_plausible
from runtime.profiling.report import PlayedChunk, Report, Subject
from runtime.profiling.timeline.buffered_audio import begins, buffered_audio
from runtime.profiling.timeline.lanes import Lane, find_lanes
from runtime.profiling.trace.packets import Annotations, Packets, Track

IDS_OF_A_SUBJECT = 1000  # process ids 1000, 2000, …: threads of two subjects never share an id
SAMPLE_SECONDS = 0.01  # between two points of the counter: Perfetto draws steps, no slopes
MAX_SAMPLES = 5000


def write_trace(path: str | Path, report: Report) -> None:
    """Write the trace; the file appears whole or not at all.

    Raises:
        UserError: the report has a figure that nobody can have measured.
    """
    write_atomically(path, make_trace(report))


def make_trace(report: Report) -> bytes:
    """The content of the file."""
    require_plausible(report)
    starts = (span.start for subject in report.subjects for span in subject.timeline.spans)
    packets = Packets(earliest=min(starts, default=0.0))
    for number, subject in enumerate(report.subjects, 1):
        _write_subject(packets, subject, number * IDS_OF_A_SUBJECT)
    return packets.content()


def _write_subject(packets: Packets, subject: Subject, process_id: int) -> None:
    said = subject.engine.removeprefix(f"{Path(subject.folder).name}: ")
    process = packets.add_process(f"{subject.label}: {said}", process_id)
    for place, lane in enumerate(find_lanes(subject.timeline.spans), 1):
        thread = packets.add_thread(_lane_name(lane), process_id, process_id + place)
        _write_lane(packets, thread, lane)
    if subject.timeline.chunks:
        _write_playback(packets, process, subject.timeline.chunks)


def _lane_name(lane: Lane) -> str:
    tracks = ", ".join(dict.fromkeys(span.track for span in lane.spans))
    beside = f", beside {lane.depth}" if lane.depth else ""
    return f"thread {lane.thread}{beside}: {tracks}"


def _write_lane(packets: Packets, track: Track, lane: Lane) -> None:
    for span in lane.spans:
        packets.add_slice(track, span.name, span.start, span.start + span.seconds, span.track)


def _write_playback(packets: Packets, process: Track, chunks: tuple[PlayedChunk, ...]) -> None:
    played = packets.add_track("playback", process)
    deadlines = packets.add_track("deadlines", process)
    waiting = packets.add_counter("audio buffered", process, unit="s")
    for number, chunk in enumerate(chunks, 1):
        details: Annotations = {
            "frames": chunk.frames,
            "sentence": chunk.sentence,
            "ready_ms": 1000 * chunk.ready,
            "due_ms": 1000 * chunk.due,
            "late_ms": 1000 * chunk.late,
        }
        name, start = f"chunk {number}", begins(chunk)
        packets.add_slice(played, name, start, start + chunk.audio_seconds, "playback", details)
        packets.add_instant(deadlines, f"due: {name}", chunk.due, details)
        if chunk.late > 0:
            packets.add_instant(played, f"underrun before {name}", chunk.due, details)
    for time, seconds in _samples(chunks):
        packets.add_count(waiting, time, seconds)


def _samples(chunks: tuple[PlayedChunk, ...]) -> Iterator[tuple[float, float]]:
    levels = buffered_audio(chunks)
    spacing = max(SAMPLE_SECONDS, (levels[-1].time - levels[0].time) / MAX_SAMPLES)
    for here, later in pairwise(levels):
        yield here.time, here.seconds
        for index in range(1, int((later.time - here.time) / spacing) + 1):
            time = here.time + index * spacing
            yield time, max(later.seconds, here.seconds - index * spacing)
    yield levels[-1].time, levels[-1].seconds
