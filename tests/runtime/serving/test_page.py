"""The page in a real browser: a text is typed and heard, with the keyboard alone, at three widths.

Chromium is driven over its own protocol, so that nothing else has to be installed.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from runtime.serving.page_routes import FOLDER
from tests.runtime.serving.conftest import Served, serving, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
sync = pytest.importorskip("websockets.sync.client")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
WIDTHS = (360, 768, 1280)


class Browser:
    """A page of a browser without a window."""

    def __init__(self, profile: Path, *more: str) -> None:
        assert CHROMIUM is not None
        options = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0")
        play = "--autoplay-policy=no-user-gesture-required"
        command = [CHROMIUM, *options, play, *more, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"ws://([\d.:]+)/", line):
                break
        pages = httpx.get(f"http://{found.group(1)}/json/list", timeout=60).json()  # type: ignore[union-attr]
        [page] = [each for each in pages if each["type"] == "page"]
        self._socket = sync.connect(page["webSocketDebuggerUrl"], max_size=None)
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = json.loads(self._socket.recv(timeout=60))
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def text(self, identity: str) -> str:
        return str(self.ask(f"document.getElementById('{identity}')?.textContent ?? ''"))

    def press(self, key: str, modifiers: int = 0) -> None:
        code = {"Enter": 13, "Escape": 27, "Tab": 9}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                modifiers=modifiers,
            )

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        until(lambda: bool(self.ask("document.readyState === 'complete'")))
        until(lambda: bool(self.ask("document.getElementById('voice')?.options.length")))

    def troubles(self) -> list[Any]:
        """Errors that the browser noted."""
        entries = [event["params"].get("entry", {}) for event in self.events]
        thrown = [event for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        return thrown + [entry for entry in entries if entry.get("level") == "error"]

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(60)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def say(browser: Browser, text: str) -> None:
    """Type a text and speak it with the keyboard."""
    browser.ask("document.getElementById('text').value = ''")
    browser.ask("document.getElementById('text').focus()")
    browser.call("Input.insertText", text=text)
    browser.press("Enter", modifiers=2)


@needs_browser
def test_a_text_is_heard_with_the_keyboard_alone(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    assert browser.ask("[...document.getElementById('voice').options].map(o => o.text)") == [
        "plain",
        "other",
    ]
    text = " ".join(["Abcdef abc."] * 6)
    say(browser, text)
    until(lambda: browser.text("status") == "Done")
    audio = served.tts.synthesize(text).audio
    seconds = len(audio) / served.tts.sample_rate
    assert abs(float(browser.text("length").split()[0]) - seconds) <= 0.02 * seconds + 0.05
    assert browser.text("first").endswith(" ms")
    assert float(browser.text("factor")) > 0
    assert browser.troubles() == []


@needs_browser
def test_escape_stops_the_speech_and_its_making(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    say(browser, " ".join(["Abcdef abc."] * 400))
    until(lambda: browser.text("status") == "Speaking")
    browser.press("Escape")
    served.wait_until_idle()
    assert browser.ask("document.getElementById('stop').disabled") is True


@needs_browser
def test_mistakes_are_shown(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    say(browser, "!?")
    until(lambda: "no letter or digit" in browser.text("status"))
    browser.events.clear()


@needs_browser
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_every_width_in_light_and_dark(
    browser: Browser, served: Served, width: int
) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.open(served.url)
    assert browser.ask("document.documentElement.scrollWidth") <= width
    backs = set()
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.call("Emulation.setEmulatedMedia", features=[feature])
        backs.add(browser.ask("getComputedStyle(document.body).backgroundColor"))
    assert len(backs) == 2


@needs_browser
def test_everything_has_a_name_and_can_be_reached(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    fields = "[...document.querySelectorAll('input, select, textarea, meter')]"
    assert browser.ask(f"{fields}.filter(e => !e.labels.length).map(e => e.id)") == []
    browser.ask("document.getElementById('text').focus()")
    reached = []
    for _ in range(3):
        browser.press("Tab")
        reached.append(browser.ask("document.activeElement.id"))
    assert reached == ["voice", "speed", "start"]


@needs_browser
def test_nothing_is_loaded_from_elsewhere(browser: Browser, served: Served) -> None:
    browser.open(served.url)
    names = browser.ask("performance.getEntriesByType('resource').map(each => each.name)")
    assert names
    assert [name for name in names if not name.startswith((served.url, "data:"))] == []
    for path in FOLDER.iterdir():
        assert "://" not in path.read_text("utf-8"), path.name


@needs_browser
def test_a_key_is_asked_for_where_one_is_needed(browser: Browser, tts: Any) -> None:
    key = "a-key-of-some-length"
    with serving(tts, keys=(key.encode(),)) as served:
        browser.call("Page.navigate", url=served.url)
        until(lambda: "a key is missing" in browser.text("status"))
        assert browser.ask("document.getElementById('access').open") is True
        browser.ask("document.getElementById('key').focus()")
        browser.call("Input.insertText", text=key)
        browser.press("Tab")
        until(lambda: bool(browser.ask("document.getElementById('voice')?.options.length")))
        say(browser, "Abc.")
        until(lambda: browser.text("status") == "Done")
    browser.events.clear()


def test_files_are_looked_up_and_never_opened_by_name(served: Served) -> None:
    assert httpx.get(served.url, timeout=60).headers["content-type"].startswith("text/html")
    answer = httpx.get(f"{served.url}/page/page.js", timeout=60)
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    for name in ("none.js", "..%2fapp.py", "%2e%2e%2fapp.py"):
        assert httpx.get(f"{served.url}/page/{name}", timeout=60).status_code == 404
