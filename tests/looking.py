"""Pages looked at in a real browser: what tests/browser and the measurement of the page share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recordings import record

from tracer.stream.batch import Batch

CHROMIUM = "/usr/bin/chromium"
READY_MS = 30_000


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a screen. As root it has no sandbox of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield started
        finally:
            started.close()


def page_of(folder: Path, batches: Iterable[Batch], *options: str, name: str = "web", **facts: Any) -> Path:
    """The page that `nstrace timeline` writes of a recording of these batches. facts: of the recording."""
    recording, page = folder / f"{name}.arrows", folder / "page.html"
    record(recording, batches, **facts)
    argv = [sys.executable, "-m", "tracer", "timeline", str(recording), "-w", str(page), "--time", "utc", *options]
    subprocess.run(argv, check=True, timeout=120)
    return page


class Seen:
    """A page in a browser, and what the browser said of it. page: Playwright's."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page, self._folder = page, folder
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", self._dialog)
        page.on("request", lambda request: self.asked.append(request.url))

    def _dialog(self, dialog: Any) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def open(self, batches: Iterable[Batch], *options: str, **facts: Any) -> Any:
        """Make the page of a recording and open it. Gives Playwright's page."""
        return self.goto(page_of(self._folder, batches, *options, **facts).as_uri())

    def goto(self, url: str) -> Any:
        """Open it, and wait until it has drawn."""
        self.page.goto(url)
        self.page.wait_for_selector("html[data-ready=yes]", timeout=READY_MS)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait for the next frame, and for what the page does a moment after it."""
        self.page.wait_for_timeout(350)

    def window_ns(self) -> tuple[int, int]:
        """From when to when it shows, by its address."""
        parts = dict(part.split("=") for part in self.page.url.partition("#")[2].split("&"))
        return int(parts["from"]), int(parts["until"])

    def facts(self) -> dict[str, str]:
        """What is said of the selected process."""
        names = self.page.locator("#details dl dt").all_inner_texts()
        return dict(zip(names, self.page.locator("#details dl dd").all_inner_texts(), strict=True))
