"""Perfetto's TracePackets, encoded as protobuf without a library.

In: tracks, slices, instants and counts, with times in seconds. Out: bytes. Field numbers are those
of perfetto/trace/trace_packet.proto and perfetto/trace/track_event/*.proto; the tests read what is
written here with Perfetto's own messages and its trace processor.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NewType

from runtime.profiling.timeline.lanes import nanoseconds

Track = NewType("Track", int)  # its uuid
Annotations = Mapping[str, int | float | str]

SEQUENCE = 1  # all packets come from one writer
SLICE_BEGIN, SLICE_END, INSTANT, COUNTER = 1, 2, 3, 4  # TrackEvent.Type
VARINT, FIXED64, BYTES = 0, 1, 2  # wire types


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    assert value >= 0
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, value: int | float | str | bytes) -> bytes:
    """One field: numbers as varint or double, texts, and messages that are encoded already."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | FIXED64) + struct.pack("<d", value)
    content = value.encode("utf-8", "replace") if isinstance(value, str) else value
    return varint(number << 3 | BYTES) + varint(len(content)) + content


class Packets:
    """A trace that grows. earliest: of all times, which becomes the trace's 0 if it is negative."""

    def __init__(self, earliest: float) -> None:
        self._origin = min(0, nanoseconds(earliest))
        self._tracks = 0
        # SEQ_INCREMENTAL_STATE_CLEARED: nothing before this packet is referred to.
        self._packets = [self._packet(field(13, 1))]
        self._events: list[tuple[int, bytes]] = []

    def add_process(self, name: str, process_id: int) -> Track:
        process = field(1, process_id) + field(6, name)
        return self._add_track(field(3, process))

    def add_thread(self, name: str, process_id: int, thread_id: int) -> Track:
        thread = field(1, process_id) + field(2, thread_id) + field(5, name)
        return self._add_track(field(4, thread))

    def add_track(self, name: str, parent: Track) -> Track:
        """A track that is no thread."""
        return self._add_track(field(2, name) + field(5, parent))

    def add_counter(self, name: str, parent: Track, unit: str) -> Track:
        return self._add_track(field(2, name) + field(5, parent) + field(8, field(6, unit)))

    def add_slice(
        self,
        track: Track,
        name: str,
        start: float,
        end: float,
        category: str,
        details: Annotations | None = None,
    ) -> None:
        described = field(22, category) + field(23, name) + _annotations(details or {})
        self._add_event(track, SLICE_BEGIN, start, described)
        self._add_event(track, SLICE_END, end)

    def add_instant(self, track: Track, name: str, time: float, details: Annotations) -> None:
        self._add_event(track, INSTANT, time, field(23, name) + _annotations(details))

    def add_count(self, track: Track, time: float, value: float) -> None:
        self._add_event(track, COUNTER, time, field(44, float(value)))

    def content(self) -> bytes:
        """The file: events by time, and at equal times in the order in which they were added."""
        events = (packet for _, packet in sorted(self._events, key=lambda event: event[0]))
        return b"".join(field(1, packet) for packet in (*self._packets, *events))

    def _add_track(self, descriptor: bytes) -> Track:
        self._tracks += 1
        self._packets.append(self._packet(field(60, field(1, self._tracks) + descriptor)))
        return Track(self._tracks)

    def _add_event(self, track: Track, kind: int, time: float, described: bytes = b"") -> None:
        moment = nanoseconds(time) - self._origin
        event = field(9, kind) + field(11, track) + described
        self._events.append((moment, self._packet(field(8, moment) + field(11, event))))

    @staticmethod
    def _packet(content: bytes) -> bytes:
        return content + field(10, SEQUENCE)


def _annotations(details: Annotations) -> bytes:
    return b"".join(field(4, field(10, name) + _value(value)) for name, value in details.items())


def _value(value: int | float | str) -> bytes:
    """DebugAnnotation has a field for each type: uint_value, double_value, string_value."""
    number = 3 if isinstance(value, int) else 5 if isinstance(value, float) else 6
    return field(number, value)
