"""Plays a new user's first minutes in tmux, at 80x24 and at 120x40, with a real container: from the first run to a PID
that a recording translates. Each screen is stored as text and as a picture.

  scripts/screens          into docs/screens
  scripts/screens FOLDER   into another folder
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZES = [(80, 24), (120, 40)]
PROMPT = "$ "
DEADLINE_S = 30.0
_WAITING = r"(?:\A|\n)\$ ?\Z"
_EMPTY = r"\A\$ ?\Z"
_TYPED = r"\A\$ \S|\n.*\n"
WORKLOAD = "while true; do sleep 1; ls /nowhere; done"


@dataclass(frozen=True)
class Step:
    """A line that is typed. until: a pattern that is waited for; interrupt: Ctrl-C is typed then. The screen is stored
    when the shell waits for the next line; where there is a key to leave with, before that is pressed."""

    name: str
    typed: str
    until: str = ""
    interrupt: bool = False
    leave: str = ""


STEPS = [
    Step("bare", "nstrace"),
    Step("containers", "nstrace containers"),
    Step("follow", "nstrace follow web", until=r"(?s)(exit 1.*){2}", interrupt=True),
    Step("ps", "nstrace ps web"),
    Step("tree", "nstrace tree web"),
    Step("translate", "nstrace translate web/1"),
    Step("record", "nstrace record --duration 3 -w web.arrows web"),
    Step("replay", "nstrace replay --events exec,exit web.arrows"),
    Step("recalled", "nstrace translate --from web.arrows --at -1s web/1"),
    Step("run", "nstrace run -- sh -c 'sleep 1; exit 3'"),
    Step("mistake", "nstrace folow web"),
    Step("top", "nstrace top web", until=r"(?s)short-lived.* S .*sleep.*\[exit 0\].*\+ \d+ short-lived", leave="q"),
]
FOR_PAGES = "follow", "top"


class Terminal:
    """A shell in tmux. Its prompt is `$ `."""

    def __init__(self, socket: Path, folder: Path, columns: int, rows: int) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        shell = ["env", f"PS1={PROMPT}", "PROMPT_COMMAND=", "TERM=screen-256color", "bash", "--norc", "--noprofile"]
        self._call("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder), *shell)
        try:
            self._call("set-option", "-g", "status", "off")
            self.await_prompt()
        except BaseException:
            self.close()
            raise

    def _call(self, *words: str) -> str:
        return subprocess.run([*self._tmux, *words], check=True, capture_output=True, text=True).stdout

    def type(self, text: str) -> None:
        """Type a line."""
        self._call("send-keys", "-l", text)
        self._call("send-keys", "Enter")

    def key(self, name: str) -> None:
        """Press a key, as tmux calls it."""
        self._call("send-keys", name)

    def screen(self, colors: bool = False) -> str:
        """What is shown, without empty lines at the end. colors: with their escape sequences."""
        return self._call("capture-pane", "-p", *(["-e", "-N"] if colors else [])).rstrip("\n")

    def modes(self) -> tuple[bool, bool, bool]:
        """Whether it reports the mouse, shows the other screen, shows the cursor."""
        flags = "#{mouse_any_flag} #{alternate_on} #{cursor_flag}"
        mouse, other, cursor = self._call("display-message", "-p", flags).split()
        return mouse == "1", other == "1", cursor == "1"

    def await_text(self, pattern: str) -> None:
        """Raises TimeoutError where it does not come."""
        until = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.screen()):
            if time.monotonic() > until:
                raise TimeoutError(f"{pattern!r} is not in:\n{self.screen()}")
            time.sleep(0.05)

    def await_prompt(self) -> None:
        """Until the shell waits for a line."""
        self.await_text(_WAITING)

    def close(self) -> None:
        """End it, with what runs in it."""
        self._call("kill-server")


def play(terminal: Terminal, step: Step) -> None:
    """Type a step on an empty screen, and wait for its end, or for what is to be stored before that."""
    terminal.type("clear")
    terminal.await_text(_EMPTY)
    terminal.type(step.typed)
    terminal.await_text(_TYPED)  # else the prompt that waits is the one from before
    if step.until:
        terminal.await_text(step.until)
    if step.interrupt:
        terminal.key("C-c")
    if not step.leave:
        terminal.await_prompt()


def picture(screen: str, columns: int, title: str) -> str:
    """A screen with its colors as SVG, in the fonts that the reader has."""
    from rich.console import Console
    from rich.text import Text

    with Path(os.devnull).open("w") as nowhere:
        console = Console(record=True, width=columns, file=nowhere, force_terminal=True, legacy_windows=False)
        console.print(Text.from_ansi(screen), end="")
        drawn = console.export_svg(title=title, unique_id="screen")
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)


@contextmanager
def container(name: str) -> Iterator[None]:
    """A container of the image busybox that starts something every second."""
    start = ["docker", "run", "-d", "--name", name, "--network", "none", "busybox", "sh", "-c", WORKLOAD]
    subprocess.run(start, check=True, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        subprocess.run(["docker", "rm", "-f", name], check=True, stdout=subprocess.DEVNULL)


def play_all(folder: Path) -> Iterator[Path]:
    """Every step at every size. Gives each text as it is stored."""
    for columns, rows in SIZES:
        target = folder / f"{columns}x{rows}"
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as place, container("web"):
            terminal = Terminal(Path(place) / "tmux", Path(place), columns, rows)
            try:
                for number, step in enumerate(STEPS, 1):
                    play(terminal, step)
                    file = target / f"{number:02}-{step.name}.txt"
                    file.write_text(terminal.screen() + "\n")
                    file.with_suffix(".svg").write_text(picture(terminal.screen(colors=True), columns, step.typed))
                    if step.leave:
                        terminal.key(step.leave)
                        terminal.await_prompt()
                    yield file
                if columns == SIZES[0][0]:
                    yield page_of(Path(place), folder / "timeline.png")
            finally:
                terminal.close()


def page_of(place: Path, picture: Path) -> Path:
    """A picture of the page of the recording that was made in a folder."""
    from looking import Seen, chromium

    argv = [sys.executable, "-m", "tracer", "timeline", "web.arrows", "--force"]
    subprocess.run(argv, cwd=place, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with chromium() as browser:
        seen = Seen(browser.new_page(viewport={"width": 1100, "height": 420}), place)
        page = seen.goto((place / "web.html").as_uri())
        page.keyboard.press("n")
        seen.settle()
        page.screenshot(path=picture)
    return picture


def main() -> None:
    """Play, and store."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/screens"
    for file in play_all(folder):
        print(f"screens: {file}", file=sys.stderr)
    for name in FOR_PAGES:
        (screen,) = (folder / "80x24").glob(f"*-{name}.svg")
        shutil.copy(screen, folder / f"{name}.svg")


if __name__ == "__main__":
    main()
