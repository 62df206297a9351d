"""A Docker engine of a test's own, which can be restarted, killed and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conftest import ROOT, wait_for

DEADLINE_S = 60.0


class OwnEngine:
    """dockerd on a socket below a folder. address: for DOCKER_HOST. keeps: whether its containers run on without it. It
    runs when this is made."""

    def __init__(self, folder: Path, live_restore: bool = True) -> None:
        self.address = f"unix://{folder}/sock"
        self.keeps = live_restore
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "daemon.json").write_text(json.dumps({"live-restore": live_restore}))
        self.start()
        self.image = "nstrace-test"
        subprocess.run([ROOT / "scripts/image", self.image], check=True, env=self._env, capture_output=True)

    @property
    def _env(self) -> dict[str, str]:
        return os.environ | {"DOCKER_HOST": self.address}

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.begin()
        wait_for(self.answers, DEADLINE_S)

    def begin(self) -> None:
        """Start it."""
        folder = self._folder
        for left in ("pid", "exec/containerd/containerd.pid"):  # of one that was killed: their processes are zombies
            (folder / left).unlink(missing_ok=True)
        driver = "vfs" if self._run("stat", "-f", "-c", "%T", str(folder)).strip() == "overlayfs" else "overlay2"
        argv = [
            *("dockerd", "--config-file", f"{folder}/daemon.json", "--data-root", f"{folder}/data"),
            *("--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "-H", self.address),
            *(f"--storage-driver={driver}", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
            "--bridge=none",
        ]
        with (folder / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def answers(self) -> bool:
        """Whether it answers now."""
        assert self._daemon.poll() is None, (self._folder / "log").read_text()[-2000:]
        done = subprocess.run(["docker", "version"], env=self._env, capture_output=True, timeout=DEADLINE_S)
        return done.returncode == 0

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; after one that ends it, wait for its end."""
        self._daemon.send_signal(number)
        if number in (signal.SIGTERM, signal.SIGKILL):
            self._daemon.wait(DEADLINE_S)

    def docker(self, *args: str) -> str:
        """What the docker client prints."""
        return self._run("docker", *args)

    def run(self, name: str, *command: str, options: tuple[str, ...] = ("-d",)) -> str:
        """Start a container. Returns what `docker run` prints: its id."""
        return self.docker("run", *options, "--network=none", "--name", name, self.image, *command).strip()

    def _run(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self._env, capture_output=True, text=True, timeout=DEADLINE_S)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def close(self) -> None:
        """End it with all that it has."""
        with suppress(OSError):
            self._daemon.send_signal(signal.SIGCONT)
        subprocess.run([ROOT / "scripts/engine", "stop", self._folder], capture_output=True, timeout=120)
        if self._daemon.poll() is None:
            self._daemon.kill()
        self._daemon.wait(DEADLINE_S)


@contextmanager
def own_engine(live_restore: bool = True) -> Iterator[OwnEngine]:
    """Until the end. Its folder has a short name, since sockets are below it."""
    engine = OwnEngine(Path(tempfile.mkdtemp(prefix="nstrace-engine-")), live_restore)
    try:
        yield engine
    finally:
        engine.close()
