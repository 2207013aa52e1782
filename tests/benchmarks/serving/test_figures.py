"""What listeners heard becomes figures: gaps, percentiles, a table and a plot."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.serving import hearing
from benchmarks.serving.asking import Ask, arrivals, make_text, mean_words, mixed_asks
from benchmarks.serving.figures import TITLES, format_levels, summarise
from benchmarks.serving.hearing import Heard, Outcome, hear, hear_all
from benchmarks.serving.plot import draw_levels
from benchmarks.serving.targets import Broken, Refused

ASK = Ask("Hello.", None)


class Played:
    """A target that says what it is told: seconds to wait, or an error, before each piece of
    0.1 s."""

    name = "played"
    voices: tuple[str, ...] = ()
    bytes_per_second = 1000

    def __init__(self, *script: float | Exception) -> None:
        self._script = script

    def speak(self, ask: Ask) -> Generator[bytes, None, None]:
        for entry in self._script:
            if isinstance(entry, Exception):
                raise entry
            hearing.time.sleep(entry)
            yield bytes(100)

    def garbage(self, number: int) -> None:
        raise AssertionError


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that passes by sleeping only: a busy machine's does not count."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(perf_counter=lambda: now[0], sleep=sleep)
    monkeypatch.setattr(hearing, "time", clock)


def test_a_late_piece_is_a_gap_as_long_as_the_player_waits(clock: None) -> None:
    heard = hear(Played(0.05, 0.0, 0.5, 0.0), ASK)
    assert heard.outcome is Outcome.DONE
    assert heard.first_audio == pytest.approx(0.05)
    assert heard.audio_seconds == pytest.approx(0.4)
    assert heard.underrun == pytest.approx(0.3)  # 0.2 s were there, it came 0.5 s later
    assert heard.real_time_factor == pytest.approx(0.55 / 0.4)
    assert hear(Played(0.0, 0.05, 0.05), ASK).underrun == 0.0


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ((Refused("429"),), Outcome.REFUSED),
        ((0.0, Broken("cut")), Outcome.BROKEN),
        ((), Outcome.BROKEN),
    ],
)
def test_other_ends(script: tuple[float | Exception, ...], outcome: Outcome) -> None:
    heard = hear(Played(*script), ASK)
    assert heard.outcome is outcome
    assert heard.reason


def test_arrivals_do_not_wait_for_each_other() -> None:
    """Nobody is answered before all have asked."""
    all_are_there = threading.Barrier(5, timeout=60)

    class Crowded(Played):
        def speak(self, ask: Ask) -> Generator[bytes, None, None]:
            all_are_there.wait()
            yield from super().speak(ask)

    heard = hear_all(Crowded(0.0), [ASK] * 5, [0.0, 0.02, 0.04, 0.06, 0.08])
    assert [each.outcome for each in heard] == [Outcome.DONE] * 5


def test_arrivals_are_a_poisson_process() -> None:
    moments = arrivals(np.random.default_rng(0), rate=20.0, seconds=200.0)
    assert moments == sorted(moments)
    assert moments[0] > 0
    assert moments[-1] < 200
    gaps = np.diff(moments)
    assert len(moments) == pytest.approx(4000, rel=0.06)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.06)


def test_texts_have_the_words_asked_for() -> None:
    random = np.random.default_rng(0)
    assert [len(make_text(random, words).split()) for words in (1, 7, 300)] == [1, 7, 300]
    asks = mixed_asks(random, 50, ("anna", "bo"), (2, 30))
    assert {ask.voice for ask in asks} == {"anna", "bo"}
    assert all(2 <= len(ask.text.split()) <= 30 for ask in asks)
    assert len({ask.seed for ask in asks}) == 50


def made_up() -> Iterator[Heard]:
    for number in range(100):
        yield Heard(Outcome.DONE, 1.0, 0.001 * (number + 1), 2.0, 0.2 if number < 3 else 0.0)
    yield Heard(Outcome.REFUSED, 0.02, None, 0.0, 0.0, "429")
    yield Heard(Outcome.BROKEN, 0.5, 0.1, 1.0, 0.3, "cut")


def test_a_level_counts_each_kind() -> None:
    level = summarise(8, [*made_up()], seconds=10.0)
    assert (level.asked, level.refused, level.broken, level.gaps) == (102, 1, 1, 4)
    assert level.first_audio == pytest.approx([0.0505, 0.09505, 0.09901])
    assert level.real_time_factor == [0.5] * 3
    assert level.throughput == pytest.approx(20.1)
    assert level.longest_gap == 0.3
    assert level.reasons == ["cut"]
    head, _, line = format_levels([level]).splitlines()
    assert head.count("|") == line.count("|") == len(TITLES) + 1
    assert line.startswith("| 8 | 102 | 1 | 1 | 50 | 95 | 99 | 0.50 | 0.50 | 4 | 300 |")


def test_levels_without_listeners_are_drawn_too() -> None:
    refused = summarise(64, [Heard(Outcome.REFUSED, 0.02, None, 0.0, 0.0, "429")], 1.0)
    assert "| – | – | – | – | – |" in format_levels([refused])
    for levels in ([refused], [summarise(8, [*made_up()], 10.0), refused]):
        root = ElementTree.fromstring(draw_levels("a & b", levels))
        assert root.tag.endswith("svg")
        assert "a & b" in "".join(root.itertext())


def test_the_mean_number_of_words_is_that_of_the_texts() -> None:
    random = np.random.default_rng(0)
    for words in ((3, 40), (1, 300), (7, 7)):
        texts = mixed_asks(random, 2000, (), words)
        said = sum(len(ask.text.split()) for ask in texts) / len(texts)
        assert mean_words(words) == pytest.approx(said, rel=0.1)
