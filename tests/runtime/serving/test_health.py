"""What a server tells of itself: to balancers, and to Prometheus."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import httpx2 as httpx
import pytest

from runtime.serving import metrics
from runtime.speech.synthesis import TTS
from tests.runtime.serving.conftest import SENTENCE, Served, serving, until

ROOT = Path(__file__).parents[3]


def status(served: Served, path: str) -> int:
    return httpx.get(f"{served.url}/{path}", timeout=60).status_code


def test_it_is_ready_when_it_has_spoken_once(tts: TTS, held: threading.Event) -> None:
    with serving(tts, is_awaited=False) as served:
        assert status(served, "health") == status(served, "v2/health/live") == 200
        assert status(served, "ready") == status(served, "v2/health/ready") == 503
        answer = httpx.post(f"{served.url}/v1/audio/speech", json={"input": SENTENCE}, timeout=60)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "not_ready"
        assert "retry-after" in answer.headers
        held.set()
        until(lambda: status(served, "ready") == 200)
        assert status(served, "v2/health/ready") == status(served, "v2/models/engine/ready") == 200
        assert status(served, "v2/models/another/ready") == 503
        assert httpx.get(f"{served.url}/ready", timeout=60).json() == {
            "status": "ready",
            "waiting": 0,
            "speaking": 0,
            "rows": 4,
        }


def test_the_page_on_metrics_names_all_of_them(served: Served) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    table = page[page.index("| name |") : page.index("Histograms count")]
    documented = {re.sub(r"_total$", "", name) for name in re.findall(r"`([a-z_]+)[`{]", table)}
    told = httpx.get(f"{served.url}/metrics", timeout=60).text
    found = set(re.findall(r"^# TYPE slm_tts_(\w+?)(?:_total|_created)? \w+$", told, re.MULTILINE))
    labels_and_values = {"left", "cancelled", "slow", "expired", "failed", "slm_tts_"}
    assert documented - labels_and_values == found
    assert set(re.findall(r"slm_tts_(\w+?)(?:_bucket|_count|_total)?[{\[ `]", page)) <= found | {""}


def test_metrics_count_speeches_and_hold_no_text(tts: TTS) -> None:
    with serving(tts) as served:
        for _ in range(2):
            body = {"input": SENTENCE, "voice": "other"}
            httpx.post(f"{served.url}/v1/audio/speech", json=body, timeout=60)
        httpx.post(f"{served.url}/v1/audio/speech", json={"input": ""}, timeout=60)
        httpx.get(f"{served.url}/nowhere/{SENTENCE}", timeout=60)
        httpx.get(f"{served.url}/v1/models/{SENTENCE}", timeout=60)
        until(lambda: "audio_rtf_count 2.0" in httpx.get(f"{served.url}/metrics", timeout=60).text)
        told = httpx.get(f"{served.url}/metrics", timeout=60).text
    lines = dict(line.rsplit(" ", 1) for line in told.splitlines() if line[0] != "#")
    for name in ("audio_ttfp_seconds", "audio_duration_seconds", "request_queue_time_seconds"):
        assert lines[f"slm_tts_{name}_count"] == "2.0"
    assert float(lines["slm_tts_audio_duration_seconds_sum"]) > 0.4
    assert lines['slm_tts_requests_total{route="speech",status="200"}'] == "2.0"
    assert lines['slm_tts_requests_total{route="speech",status="400"}'] == "1.0"
    assert lines["slm_tts_num_requests_running"] == lines["slm_tts_num_requests_waiting"] == "0.0"
    assert lines["slm_tts_rows"] == "4.0"
    assert "Abc" not in told
    assert "other" not in [part for line in lines for part in line.split('"') if "voice" in line]


def test_a_gap_is_what_a_player_from_the_first_audio_on_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    playback = metrics.Playback()
    for moment, seconds in ((100.5, 0.0), (101.0, 1.0), (101.9, 0.2), (102.5, 1.0), (103.0, 1.0)):
        now[0] = moment
        playback.add(seconds)
    assert playback.first == 101.0
    assert playback.seconds == pytest.approx(3.2)
    assert playback.underrun_seconds == pytest.approx(0.3)


@pytest.mark.parametrize("path", ["health", "ready"])
def test_a_server_that_ends_says_so(tts: TTS, path: str) -> None:
    from runtime.serving.speaking import Phase

    with serving(tts) as served:
        served.app.state.speaking.phase = Phase.ENDING
        answer = httpx.get(f"{served.url}/{path}", timeout=60)
        assert answer.json()["status"] == "ending"
        assert answer.status_code == (503 if path == "ready" else 200)
        answer = httpx.post(f"{served.url}/v1/audio/speech", json={"input": SENTENCE}, timeout=60)
        assert answer.status_code == 503
