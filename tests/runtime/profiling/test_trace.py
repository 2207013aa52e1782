"""Traces, as Perfetto reads them: with its own messages, and with its own trace processor."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from commands.errors import UserError
from runtime.profiling.report import PlayedChunk, Report, Span
from runtime.profiling.timeline.buffered_audio import buffered_audio, playback_end
from runtime.profiling.timeline.lanes import find_lanes
from runtime.profiling.trace import make_trace, write_trace
from runtime.profiling.trace.packets import field, varint
from tests.runtime.profiling.sample_report import FULL, SPARSE, make_sample_report
from tests.runtime.profiling.trace_processor import query_trace

REPORT = make_sample_report()


def read_packets(trace: bytes) -> Any:
    protos = pytest.importorskip(
        "perfetto.protos.perfetto.trace.perfetto_trace_pb2", reason="no perfetto package"
    )
    read = protos.Trace()
    read.ParseFromString(trace)
    return read.packet


def span(name: str, start: float, end: float, thread: int = 1) -> Span:
    return Span(track="codec", name=name, start=start, seconds=end - start, thread=thread)


def chunk(ready: float, due: float, audio_seconds: float) -> PlayedChunk:
    late = max(0.0, ready - due)
    return PlayedChunk(
        ready=ready, due=due, late=late, audio_seconds=audio_seconds, frames=4, sentence=0
    )


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**64 - 1])
def test_a_varint_has_seven_bits_a_byte(value: int) -> None:
    encoded = varint(value)
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == value
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]


def count_unknown_fields(message: Any) -> int:
    """Of a protobuf message and all messages in it."""
    unknown_fields = pytest.importorskip("google.protobuf.unknown_fields")
    count = len(unknown_fields.UnknownFieldSet(message))
    for described, value in message.ListFields():
        if described.message_type:
            count += sum(map(count_unknown_fields, value if described.is_repeated else [value]))
    return count


def test_perfettos_messages_know_every_field() -> None:
    packets = read_packets(make_trace(REPORT))
    assert sum(map(count_unknown_fields, packets)) == 0


def test_the_count_of_unknown_fields_sees_them() -> None:
    (packet,) = read_packets(field(1, field(11, field(999, 1))))
    assert count_unknown_fields(packet) == 1


def test_the_trace_processor_sees_every_span_on_its_thread() -> None:
    rows = query_trace(
        make_trace(REPORT),
        "select process.name as process, slice.name as name, slice.ts as ts, slice.dur as dur "
        "from slice join thread_track on slice.track_id = thread_track.id "
        "join thread using (utid) join process using (upid) order by upid, ts",
    )
    expected = [
        (f"{subject.label}: {subject.engine.split(': ')[1]}", span.name, span.start, span.seconds)
        for subject in REPORT.subjects
        for span in subject.timeline.spans
    ]
    assert [(row["process"], row["name"]) for row in rows] == [each[:2] for each in expected]
    for row, (_, _, start, seconds) in zip(rows, expected, strict=True):
        assert row["ts"] == round(start * 1e9)
        assert row["dur"] == pytest.approx(seconds * 1e9, abs=1.5)


def test_the_trace_processor_sees_playback_deadlines_and_underruns() -> None:
    rows = query_trace(
        make_trace(REPORT),
        "select process_track.name as track, slice.name as name, slice.ts as ts, slice.dur as dur "
        "from slice join process_track on slice.track_id = process_track.id "
        f"join process using (upid) where process.name like '{FULL}:%'",
    )
    chunks = REPORT.subjects[0].timeline.chunks
    found = {(row["track"], row["name"]): row for row in rows}
    late = [number for number, chunk in enumerate(chunks, 1) if chunk.late]
    assert late
    assert len(found) == len(rows) == 2 * len(chunks) + len(late)
    for number, played in enumerate(chunks, 1):
        assert found["deadlines", f"due: chunk {number}"]["ts"] == round(played.due * 1e9)
        slice_ = found["playback", f"chunk {number}"]
        assert slice_["ts"] == round((played.due + played.late) * 1e9)
        assert slice_["dur"] == pytest.approx(played.audio_seconds * 1e9, abs=1.5)
    assert all(("playback", f"underrun before chunk {number}") in found for number in late)


def test_the_trace_processor_sees_the_audio_that_waits() -> None:
    rows = query_trace(
        make_trace(REPORT),
        "select process.name as process, unit, ts, value from counter "
        "join process_counter_track as track on counter.track_id = track.id "
        "join process using (upid) where track.name = 'audio buffered' order by upid, ts",
    )
    assert {row["unit"] for row in rows} == {"s"}
    for subject in REPORT.subjects:
        chunks = subject.timeline.chunks
        values = [row["value"] for row in rows if row["process"].startswith(f"{subject.label}:")]
        assert values[-1] == 0
        assert min(values) == 0
        assert max(values) >= max(chunk.audio_seconds for chunk in chunks)
    assert sum(row["process"].startswith(f"{SPARSE}:") for row in rows) > 3


def test_the_trace_processor_finds_nothing_to_complain_about() -> None:
    errors = query_trace(
        make_trace(REPORT),
        "select name, value from stats where severity in ('error', 'data_loss') and value > 0",
    )
    assert errors == []


def test_the_query_of_the_docs_lists_the_slowest_calls() -> None:
    page = (Path(__file__).parents[3] / "docs" / "profiling.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    rows = query_trace(make_trace(REPORT), query)
    spans = [each for subject in REPORT.subjects for each in subject.timeline.spans]
    slowest = sorted(spans, key=lambda each: each.seconds, reverse=True)[:10]
    assert [row["name"] for row in rows] == [each.name for each in slowest]
    for row, each in zip(rows, slowest, strict=True):
        assert row["ms"] == pytest.approx(1000 * each.seconds, abs=1e-5)
        assert row["at_ms"] == pytest.approx(1000 * each.start, abs=1e-5)


def test_times_before_the_text_move_the_origin() -> None:
    subject = REPORT.subjects[0]
    early = msgspec.structs.replace(subject.timeline, spans=(span("early", -0.5, 0.25),))
    moved = msgspec.structs.replace(subject, timeline=early)
    packets = read_packets(make_trace(msgspec.structs.replace(REPORT, subjects=(moved,))))
    begun = next(packet for packet in packets if packet.track_event.name == "early")
    due = next(packet for packet in packets if packet.track_event.name == "due: chunk 1")
    assert begun.timestamp == 0
    assert due.timestamp == round(early.chunks[0].due * 1e9) + 500_000_000


def test_a_time_that_no_trace_can_hold_is_refused(tmp_path: Path) -> None:
    subject = REPORT.subjects[0]
    late = msgspec.structs.replace(subject.timeline, spans=(span("late", 1e10, 1e10 + 1),))
    subjects = (msgspec.structs.replace(subject, timeline=late),)
    with pytest.raises(UserError, match=r"timeline\.spans\[0\]\.start is 1e\+10|10000000000"):
        write_trace(tmp_path / "t", msgspec.structs.replace(REPORT, subjects=subjects))
    assert not list(tmp_path.iterdir())


def test_spans_that_overlap_get_a_lane_beside() -> None:
    lanes = find_lanes(
        [span("inner", 1, 2), span("outer", 0, 4), span("across", 3, 5), span("next", 4, 6)]
    )
    assert [[each.name for each in lane.spans] for lane in lanes] == [
        ["outer", "inner", "next"],
        ["across"],
    ]
    assert [lane.depth for lane in lanes] == [0, 1]


def test_a_thread_has_its_own_lane() -> None:
    lanes = find_lanes([span("one", 0, 2, thread=8), span("other", 1, 3, thread=9)])
    assert [lane.thread for lane in lanes] == [8, 9]


def test_audio_waits_until_it_is_played() -> None:
    # The second comes while the first plays; the third when the player has been dry for 0.5 s.
    chunks = [chunk(1.0, 1.0, 0.4), chunk(1.1, 1.4, 0.2), chunk(2.1, 1.6, 0.3)]
    levels = [(level.time, level.seconds) for level in buffered_audio(chunks)]
    assert levels == [
        (1.0, 0.0),
        (1.0, 0.4),
        (1.1, pytest.approx(0.3)),
        (1.1, pytest.approx(0.5)),
        (pytest.approx(1.6), 0.0),
        (2.1, 0.0),
        (2.1, 0.3),
        (pytest.approx(2.4), 0.0),
    ]
    assert playback_end(chunks) == pytest.approx(2.4)
    assert buffered_audio([]) == []


def test_a_report_without_subjects_is_an_empty_trace() -> None:
    empty: Report = msgspec.structs.replace(REPORT, subjects=())
    assert len(read_packets(make_trace(empty))) == 1


def test_the_file_is_what_was_made(tmp_path: Path) -> None:
    write_trace(tmp_path / "profile.pftrace", REPORT)
    assert (tmp_path / "profile.pftrace").read_bytes() == make_trace(REPORT)
    assert [path.name for path in tmp_path.iterdir()] == ["profile.pftrace"]
