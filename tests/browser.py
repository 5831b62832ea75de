"""A headless Chromium for the tests of the interactive page, and what it says of a page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


@contextmanager
def browser() -> Iterator[Any]:
    """Start a Chromium; skip the test, saying why, where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("no playwright: pip install playwright")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    with sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


class Opened:
    """A page in the browser, with what it complained of and what it asked the network for."""

    def __init__(self, launched: Any, path: Path, scheme: str = "light") -> None:
        self.tab = launched.new_page(viewport={"width": 1280, "height": 760}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.complaints.append("dialog"), dialog.dismiss()))
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.address = path.as_uri()
        self.tab.goto(self.address)

    def press(self, *keys: str) -> Opened:
        for key in keys:
            self.tab.keyboard.press(key)
        return self

    def step(self) -> str:
        """Return the text of the card of the present step."""
        return str(self.tab.inner_text("#step"))

    def node(self) -> str:
        """Return the text of the card of the chosen node."""
        return str(self.tab.inner_text("#node"))

    def choose(self, name: str) -> Opened:
        """Click the box of the node of that name."""
        self.tab.locator(".item", has=self.tab.locator(f"text=/^{name}( =|$)/")).first.click()
        return self

    def count(self) -> str:
        return str(self.tab.inner_text("#count"))

    def settle(self) -> Opened:
        """Wait for two frames, by when all is drawn."""
        self.tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self

    def boxes(self) -> list[str]:
        """Return the lines of text of every drawn box, joined by bars, in the order of the graph."""
        self.settle()
        return [
            "|".join(filter(None, lines))
            for lines in self.tab.evaluate(
                "() => [...document.querySelectorAll('.item')].map((item) => "
                "[...item.querySelectorAll('text')].map((text) => text.textContent))"
            )
        ]

    def close(self) -> None:
        """Close the page; it must have had nothing to complain of, and have asked for nothing but itself."""
        self.tab.close()
        assert self.complaints == []
        assert self.requests == [self.address]
