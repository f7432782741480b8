"""The page in a real browser: no error, no request, nothing wider than the window, on both screens."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployer.cost.report import CostReport
from deployer.report.write import write

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-default-apps", "--disable-extensions", "--remote-debugging-pipe"),
)
# The browser speaks over descriptors 3 and 4; they are put in their place just before it starts.
START = (
    "import fcntl, os, sys\n"
    "r, w = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3])\n"
    "os.dup2(r, 3), os.dup2(w, 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)

pytestmark = [
    pytest.mark.report,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser is installed: {', '.join(NAMES)}"),
]


class Browser:
    """One tab of a headless Chromium, spoken to in its own protocol."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs_in), str(theirs_out), *command],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result; what happens meanwhile is kept in ``events``."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Show a page in a window of that width and wait until it has loaded."""
        scheme = "dark" if dark else "light"
        self.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.events = []
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def value(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"][
            "value"
        ]

    def complaints(self) -> list[str]:
        """Return what the page logged, threw, was refused or failed to load."""
        wanted = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Network.loadingFailed")
        return [
            json.dumps(event["params"])
            for event in self.events
            if event["method"] in wanted or event["method"] == "Log.entryAdded"
        ]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for."""
        sent = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self) -> None:
        """End the browser and all its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, "the browser did not answer within 60 s"
            chunk = os.read(self._in, 1 << 16)
            assert chunk, "the browser has ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pages(
    report: CostReport, hostile: CostReport, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {
        name: write(r, folder / name)["html"]
        for name, r in (("plain", report), ("hostile", hostile))
    }
    return {name: path.resolve() for name, path in made.items()}


@pytest.mark.parametrize("which", ["plain", "hostile"])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_page_loads_alone_without_a_complaint_and_fits_the_window(
    browser: Browser, pages: dict[str, Path], which: str, width: int
) -> None:
    browser.open(pages[which], width)
    assert browser.complaints() == []
    assert browser.requests() == [pages[which].as_uri()]
    assert browser.value("document.documentElement.scrollWidth") <= width


def test_browser_would_tell_of_a_script_and_a_request(browser: Browser, tmp_path: Path) -> None:
    """A page with the report's policy and what it forbids: the harness must notice both."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">"
        "<script>document.title = 'ran'</script><img src=other.png>"
    )
    browser.open(page, 800)
    assert len(browser.complaints()) >= 2
    assert browser.value("document.title") == ""


@pytest.mark.parametrize(("width", "shown"), [(1280, "wide"), (390, "narrow")])
def test_plots_fit_the_width_of_the_window(
    browser: Browser, pages: dict[str, Path], width: int, shown: str
) -> None:
    browser.open(pages["plain"], width)
    seen = browser.value(
        "[...document.querySelectorAll('main > section svg')]"
        ".filter(e => getComputedStyle(e).display != 'none').map(e => e.getAttribute('class'))"
    )
    assert seen == [shown] * 4


def test_style_sheet_is_applied_and_follows_the_screen_into_the_dark(
    browser: Browser, pages: dict[str, Path]
) -> None:
    grounds = []
    for dark in (False, True):
        browser.open(pages["plain"], 1280, dark=dark)
        grounds.append(browser.value("getComputedStyle(document.body).backgroundColor"))
        ink = browser.value("getComputedStyle(document.querySelector('svg text')).fill")
        assert ink != grounds[-1]
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 23, 28)"]


@pytest.mark.parametrize("width", [1600, 1280, 1024, 900, 768, 390])
def test_no_table_needs_scrolling(browser: Browser, pages: dict[str, Path], width: int) -> None:
    browser.open(pages["plain"], width)
    boxes = browser.value(
        "[...document.querySelectorAll('section .scroll')].map(e => [e.scrollWidth, e.clientWidth])"
    )
    assert boxes
    assert all(inner <= outer for inner, outer in boxes)


def test_printed_page_is_light_wide_and_fits_the_paper(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(pages["plain"], 718, dark=True)
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.ask("Emulation.setEmulatedMedia", media="print", features=dark)
    try:
        assert (
            browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        )
        assert (
            browser.value("getComputedStyle(document.querySelector('svg.wide')).display") == "block"
        )
        assert browser.value("document.documentElement.scrollWidth") <= 718
    finally:
        browser.ask("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("width", [1280, 390])
def test_no_text_of_a_plot_covers_another_in_the_fonts_of_the_browser(
    browser: Browser, pages: dict[str, Path], width: int
) -> None:
    browser.open(pages["plain"], width)
    covered = browser.value(
        "[...document.querySelectorAll('main > section svg')].flatMap(svg => {"
        " const found = [...svg.querySelectorAll('text')].filter(e => e.textContent)"
        "  .map(e => [e.textContent, e.getBoundingClientRect()]);"
        " return found.flatMap(([a, p], i) => found.slice(i + 1)"
        "  .filter(([b, q]) => Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1"
        "   && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 4).map(([b]) => [a, b])); })"
    )
    assert covered == []
