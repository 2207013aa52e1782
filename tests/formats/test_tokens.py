"""The JSON lines of speech tokens: round trips, published form, and strict errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commands.errors import UserError
from formats.streams import FACODEC, Streams
from formats.tokens import (
    TokenizedUtterance,
    find_streams,
    format_mtp,
    format_ntp,
    format_utterance,
    parse_mtp,
    parse_ntp,
    parse_utterance,
    read_utterances,
    write_utterances,
)

FRAMES = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.int64)

frame_lists = st.lists(st.tuples(*[st.integers(0, 1023)] * 3), max_size=40)


def as_frames(rows: list[tuple[int, ...]]) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, 3)


def test_a_question_goes_with_its_answer() -> None:
    utterance = TokenizedUtterance("u", "I am.", FRAMES, question="Who?")
    line = format_utterance(utterance, 6)
    assert json.loads(line)["question"] == "Who?"
    assert parse_utterance(line, 6).question == "Who?"
    assert "question" not in format_utterance(TokenizedUtterance("u", "I am.", FRAMES), 6)


@given(frame_lists)
def test_interleaved_round_trip(rows: list[tuple[int, ...]]) -> None:
    frames = as_frames(rows)
    np.testing.assert_array_equal(parse_ntp(format_ntp(frames, FACODEC), FACODEC), frames)


@given(frame_lists, st.sampled_from([3, 6, 9, 12, 48]))
def test_heads_round_trip(rows: list[tuple[int, ...]], heads: int) -> None:
    frames = as_frames(rows)
    np.testing.assert_array_equal(
        parse_mtp(format_mtp(frames, heads, FACODEC), heads, FACODEC), frames
    )


def test_heads_hold_every_second_frame_and_a_pad() -> None:
    assert format_mtp(FRAMES, 6, FACODEC) == {
        "head_a_1": "<a1><a7>",
        "head_b_1": "<b2><b8>",
        "head_c_1": "<c3><c9>",
        "head_a_2": "<a4><|speech_pad|>",
        "head_b_2": "<b5><|speech_pad|>",
        "head_c_2": "<c6><|speech_pad|>",
    }
    assert format_ntp(FRAMES[:2], FACODEC) == "<a1><b2><c3><a4><b5><c6>"


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("<a1><b2>", "whole frames"),
        ("<b1><a2><c3>", "stream 'a'"),
        ("<a1><b1024><c3>", "<b1024>"),
        ("<a1> <b2><c3>", "character 5"),
        ("<a01><b2><c3>", "character 1"),
        ("<a1><b2><c³>", "character 9"),
        ("<|speech_pad|><b2><c3>", "token 1"),
        ("<a1><b2><d3>", "character 9"),
    ],
)
def test_bad_interleaved_streams_are_refused(stream: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_ntp(stream, FACODEC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head_a_2": "<a4>"}, "head_a_2 has 1 tokens"),
        ({"head_a_2": "<b4><|speech_pad|>"}, "head_a_2: token 1"),
        ({"head_a_2": 7}, "head_a_2 must be a string"),
        ({"head_a_3": "<a4>"}, "head_a_3"),
        ({"head_a_2": "<a4><a5>"}, "fill up the last step"),
        ({"head_b_1": "<|speech_pad|><b8>"}, "fill up the last step"),
    ],
)
def test_bad_heads_are_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_mtp({**format_mtp(FRAMES, 6, FACODEC), **change}, 6, FACODEC)


def test_a_step_of_nothing_but_pads_is_refused() -> None:
    tokens = {key: text + "<|speech_pad|>" for key, text in format_mtp(FRAMES, 6, FACODEC).items()}
    with pytest.raises(UserError, match="fill up the last step"):
        parse_mtp(tokens, 6, FACODEC)


@pytest.mark.parametrize("heads", [0, 2, 4, -3])
def test_heads_must_make_whole_frames(heads: int) -> None:
    with pytest.raises(UserError, match="multiple of 3"):
        format_mtp(FRAMES, heads, FACODEC)


@pytest.mark.parametrize("heads", [1, 3, 6])
def test_lines_round_trip_with_every_key(heads: int) -> None:
    utterance = TokenizedUtterance("u1", "ðə kˈæt.", FRAMES, "speakers/u1", (2, 0, 1), "The cat.")
    found = parse_utterance(format_utterance(utterance, heads), heads)
    np.testing.assert_array_equal(found.frames, FRAMES)
    assert {**vars(found), "frames": 0} == {**vars(utterance), "frames": 0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"uttid": 3}, "'uttid'"),
        ({"text": None}, "'text'"),
        ({"tokens": {}}, "'tokens': must be one string"),
        ({"tokens": "<a1>"}, "'tokens'"),
        ({"symbol_frames": [1, 1]}, "add up to 3 frames"),
        ({"symbol_frames": [4, -1]}, "'symbol_frames'"),
        ({"spk_emb_path": ["a"]}, "'spk_emb_path'"),
    ],
)
def test_errors_name_line_and_key(tmp_path: Path, values: dict[str, object], message: str) -> None:
    good = json.loads(format_utterance(TokenizedUtterance("u1", "Hi.", FRAMES), 1))
    path = tmp_path / "ntp.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in (good, {**good, **values})))
    with pytest.raises(UserError, match=f"line 2: key {message}|line 2: .*{message}"):
        list(read_utterances(path, 1))


@given(st.text(max_size=60))
@settings(max_examples=200)
def test_any_line_parses_or_is_a_user_error(line: str) -> None:
    with pytest.raises(UserError):
        parse_utterance(line, 3)


def test_files_round_trip_and_appear_whole(tmp_path: Path) -> None:
    path = tmp_path / "h3.jsonl"
    assert write_utterances(path, [TokenizedUtterance("u", "Hi.", FRAMES)] * 2, 3) == 2
    assert [u.uttid for u in read_utterances(path, 3)] == ["u", "u"]
    assert [file.name for file in tmp_path.iterdir()] == ["h3.jsonl"]


def test_files_as_people_change_them(tmp_path: Path) -> None:
    """With a byte-order mark and blank lines, and what some editors take for the end of a line."""
    path = tmp_path / "h3.jsonl"
    text = "One.\u2028Two.\x85"
    write_utterances(path, [TokenizedUtterance("u", text, FRAMES)] * 2, 3)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n\r\n").join([b"\xef\xbb\xbf", b""]))
    assert [u.text for u in read_utterances(path, 3)] == [text, text]
    path.write_bytes(path.read_text(encoding="utf-8-sig").encode("utf-16"))
    with pytest.raises(UserError, match=r"h3.jsonl, line 1: is not UTF-8 but probably UTF-16"):
        list(read_utterances(path, 3))


OTHER = Streams((48, 20), 62.5)
OTHER_FRAMES = np.array([[47, 3], [0, 19], [5, 0]], np.int64)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_lines_of_another_codec_say_so(tmp_path: Path, heads: int) -> None:
    utterance = TokenizedUtterance("u", "Hi.", OTHER_FRAMES, streams=OTHER)
    write_utterances(tmp_path / "t.jsonl", [utterance], heads)
    (found,) = read_utterances(tmp_path / "t.jsonl", heads, OTHER)
    np.testing.assert_array_equal(found.frames, OTHER_FRAMES)
    assert found.streams == OTHER == find_streams(tmp_path / "t.jsonl")
    assert found.seconds == 3 / 62.5


def test_lines_of_facodec_are_as_published(tmp_path: Path) -> None:
    write_utterances(tmp_path / "t.jsonl", [TokenizedUtterance("u", "Hi.", FRAMES)], 3)
    assert "streams" not in json.loads((tmp_path / "t.jsonl").read_text())
    assert find_streams(tmp_path / "t.jsonl") == FACODEC


def test_tokens_of_another_codec_are_refused(tmp_path: Path) -> None:
    lines = [
        TokenizedUtterance("u", "Hi.", OTHER_FRAMES, streams=OTHER),
        TokenizedUtterance("v", "Hi.", OTHER_FRAMES, streams=Streams((48, 20), 50.0)),
    ]
    write_utterances(tmp_path / "t.jsonl", lines, 2)
    message = "line 2: has tokens of 48, 20 codes at 50 frames .* not of 48, 20 codes at 62.5"
    with pytest.raises(UserError, match=message):
        list(read_utterances(tmp_path / "t.jsonl", 2, OTHER))


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ("<a47><b20>", "<b20> is beyond the 20 codes of its stream"),
        ("<a1><b2><c3>", "character 9"),
        ("<a1><b2><a3>", "whole frames of 2"),
        ("<a123456><b2>", "character 1"),
    ],
)
def test_each_stream_has_its_own_codes(tokens: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse_ntp(tokens, OTHER)


@pytest.mark.parametrize(
    ("streams", "message"),
    [
        ([48, 20], "'streams': must be an object"),
        ({"sizes": [48, 20]}, "'streams': key 'frames_per_second' is missing"),
        ({"sizes": [48, "20"], "frames_per_second": 50}, "'sizes' must be of type int"),
        ({"sizes": [48, 0], "frames_per_second": 50}, "'streams': a stream has 1 to"),
        ({"sizes": [], "frames_per_second": 50}, "'streams': a codec has 1 to 16 streams"),
        ({"sizes": [48], "frames_per_second": -1}, "'streams': frames per second"),
        ({"sizes": [48], "frames_per_second": 50, "rate": 1}, "unknown key 'rate'"),
    ],
)
def test_bad_streams_are_refused(tmp_path: Path, streams: object, message: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"uttid": "u", "text": "a", "tokens": "", "streams": streams}))
    for read in (lambda: list(read_utterances(path, 1)), lambda: find_streams(path)):
        with pytest.raises(UserError, match=f"t.jsonl, line 1: key .*{message}"):
            read()
