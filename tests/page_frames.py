"""How fast the page of nstrace timeline is in Chromium: until it is drawn, and frames a second while it is zoomed and
moved. scripts/page --measure.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from crowd import crowd
from looking import Seen, chromium, page_of

PROCESSES, RUNS_MS = 200_000, 4000
KINDS: dict[str, dict[str, Any]] = {
    "40 containers, a part of the rows seen": {},
    "all bars seen at once": {"containers": 1, "longest_s": 0.003},
}
ZOOMING = """async (runs_ms) => {
    const canvas = document.getElementById("lanes"), began = performance.now();
    let frames = 0, last = began, worst = 0;
    while (last - began < runs_ms) {
        const deltaY = Math.floor((last - began) / 1000) % 2 ? 40 : -40;
        const how = { deltaY, clientX: 600, clientY: 400, bubbles: true, cancelable: true };
        canvas.dispatchEvent(new WheelEvent("wheel", how));
        const now = await new Promise(requestAnimationFrame);
        worst = Math.max(worst, now - last); last = now; frames++;
    }
    return [frames / runs_ms * 1000, worst];
}"""


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for number, (name, options) in enumerate(KINDS.items()):
            place = Path(folder, str(number))
            place.mkdir()
            file = page_of(place, crowd(PROCESSES, **options))
            seen = Seen(browser.new_page(viewport={"width": 1280, "height": 720}), place)
            began = time.monotonic()
            seen.page.goto(file.as_uri())
            seen.page.wait_for_selector("html[data-ready=yes]")
            drawn_s = time.monotonic() - began
            rate, worst_ms = seen.page.evaluate(ZOOMING, RUNS_MS)
            print(f"{PROCESSES} processes, {name}: {file.stat().st_size / 1e6:.1f} MB, drawn after {drawn_s:.1f} s,")
            print(f"  {rate:.0f} frames a second, the slowest {worst_ms:.0f} ms; errors: {seen.said or 'none'}")


if __name__ == "__main__":
    main()
