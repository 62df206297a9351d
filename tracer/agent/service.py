"""The agent's own process: starts the others, keeps the store within its limits, reacts to signals. It keeps root's
privileges for that, and reads nothing of a stranger's: its configuration, names and sizes of files, packets of numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tracer.agent import beats, exporter, lock
from tracer.agent.beats import Beat
from tracer.agent.child import PATIENCE_S, Child
from tracer.agent.config import Config, Publish
from tracer.agent.config_reader import check_config, path_of, read_config
from tracer.agent.incidents import Limits
from tracer.agent.notes import unpack
from tracer.agent.notify import notify
from tracer.agent.pending import Pending
from tracer.agent.store import Kept, Store
from tracer.errors import ExitCode, NstraceError
from tracer.system import imports
from tracer.system.clock_offset import wall_offset_ns
from tracer.system.memory import share_pool, stay_small
from tracer.text.counted import size_text
from tracer.text.escape import safe_text

if TYPE_CHECKING:
    import socket

_LOOK_S = 5.0  # how often the store is looked at
_READY_S = 10.0  # it is ready then, though what is recorded cannot be settled yet: an engine is silent
_SILENT_S = 60.0  # a recorder that says nothing for so long is ended
_STARTING_S = 240.0  # and one that has not said anything yet: a busy host takes long to compile what the kernel runs
_MOST_OFF_NS = 1_000_000_000  # how far the wall clock may be off from what the recording says it is
_SHARED = ("tracer.agent.recorder", "pyarrow.compute", *imports.OF_ARROW)
_SHARED_BY_PUBLISHER = ("tracer.agent.publisher", "tracer.fleet.publishing")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
_REQUESTS = (signal.SIGHUP, signal.SIGUSR1)  # those that end nothing, though they would by default


def serve(named: str | None) -> int:
    """Record until SIGTERM or SIGINT; gives the exit code. named: what --config says. Raises NstraceError where it
    cannot begin."""
    for name in ("SUDO_UID", "SUDO_GID"):  # what a service writes is its own, whoever has started it
        os.environ.pop(name, None)
    signal.pthread_sigmask(signal.SIG_BLOCK, _REQUESTS)  # they wait for the loop: who has the lock is asked at once
    config = _checked(named)
    store = Store(config.record.folder)
    held = lock.take(config.record.folder)
    try:
        _prepare(config)
        return Service(named, config, store, held).run()
    finally:
        os.close(held)


def _prepare(config: Config) -> None:
    """Import what our processes need, before they are forked: they share it, and one that is started again is of the
    same version as the others."""
    share_pool()
    imports.load(*_SHARED, *(_SHARED_BY_PUBLISHER if config.publish else ()))
    stay_small()


def _checked(named: str | None) -> Config:
    """The configuration. Conditions of triggers are checked in a child, which has the library for that: we stay
    without threads. Raises NstraceError."""
    config = read_config(named)
    if config.triggers:
        checker = Child("checker", lambda: _check(named))
        checker.start()
        checker.reap()
        if checker.exit_code:
            raise NstraceError(
                "the condition of a trigger is not valid", "nstrace agent --check says which", ExitCode.USAGE
            )
    return config


def _check(named: str | None) -> int:
    problems = check_config(named)
    for error in problems:
        say(error.message)
    return int(bool(problems))


def say(line: str) -> None:
    """Write a line for people, or for the journal."""
    with contextlib.suppress(OSError):
        os.write(sys.stderr.fileno(), f"nstrace: {safe_text(line)}\n".encode())


class Service:
    """The loop. named: what --config says. lock: a descriptor that holds the folder's."""

    def __init__(self, named: str | None, config: Config, store: Store, lock: int) -> None:
        self._named, self._config, self._store, self._lock = named, config, store, lock
        self._wakeup, self._arriving = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ours, self._theirs = beats.channel()
        self._heard, self._packets = beats.channel()  # what metrics count: to the exporter, from the others
        self._server: socket.socket | None = None  # of the exporter
        self._exporter: Child | None = None
        self._starts = 0
        self._triggers = config.triggers  # of the recorder that runs
        self._recorder = Child("recorder", self._record)
        self._publisher: Child | None = None
        self._pending = Pending(store, say, lambda: beats.ask_to_write(self._ours), self._close_all)
        self._is_stopping = self._is_full = self._is_ready = False
        self._heard_s = self._started_s = self._looked_s = 0.0
        self._offset_ns = self._settled_ns = 0

    def run(self) -> int:
        """Serve until a signal ends it."""
        signal.set_wakeup_fd(self._arriving, warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda _number, _frame: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _REQUESTS)
        try:
            if metrics := self._config.metrics:
                self._server = exporter.listening(metrics)
            self._start_exporter()
            self._look()
            self._restart()
            while not self._is_stopping:
                self._wait()
                self._take_signals()
                beats.listen(self._ours, self._hear, self._hear_note)
                self._reap()
                self._pending.go_on(self._settled_ns, self._limits)
                if not self._is_ready and self._recorder.has_failed:
                    return abs(self._recorder.exit_code or 0) or 1  # it has said why
                if not self._is_stopping and time.monotonic() - self._looked_s >= _LOOK_S:
                    self._look()
                self._restart()
        finally:
            notify("STOPPING=1")
            self._stop()
            signal.set_wakeup_fd(-1)
        return 0

    @property
    def _limits(self) -> Limits:
        incidents = self._config.incidents
        return Limits(incidents.keep, incidents.keep_per_container, self._config.record.min_free_bytes)

    def _children(self) -> Iterator[Child]:
        yield self._recorder
        if self._publisher:
            yield self._publisher
        if self._exporter:
            yield self._exporter

    def _wait(self) -> None:
        """Until something has to be done."""
        due = [child.due_s for child in self._children() if not child.runs and not (self._is_full)]
        until_s = min([self._looked_s + _LOOK_S, time.monotonic() + self._pending.due_in_s, *due])
        ends = [one.pidfd for one in (*self._children(), *self._pending.children()) if one.pidfd is not None]
        watched = [self._wakeup, self._ours.fileno(), *ends]
        select.select(watched, [], [], max(0.0, until_s - time.monotonic()))

    def _take_signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in os.read(self._wakeup, 4096):
                if number == signal.SIGHUP:
                    self._reload()
                elif number == signal.SIGUSR1:
                    beats.ask_to_write(self._ours)
                elif number in _SIGNALS:
                    self._is_stopping = True

    def _hear(self, beat: Beat) -> None:
        """The recorder is alive."""
        self._heard_s = time.monotonic()
        if beat.settled_ns > self._settled_ns:
            self._settled_ns = beat.settled_ns
            lock.say_settled(self._lock, beat.settled_ns + self._offset_ns)
        if not self._is_ready and (beat.settled_ns or self._heard_s - self._started_s >= _READY_S):
            self._is_ready, self._looked_s = True, 0.0
            self._start_publisher()
            notify("READY=1")
        notify("WATCHDOG=1", f"STATUS=recording to {self._store.path}: {beat.rows} rows, {beat.lost} lost")

    def _hear_note(self, packet: bytes) -> None:
        """A trigger's condition was true."""
        if note := unpack(packet, len(self._triggers)):
            self._pending.note(note, self._triggers[note.trigger])

    def _start_recorder(self) -> None:
        beats.listen(self._ours, self._hear, self._hear_note)  # the last words of the one before
        self._triggers = self._config.triggers
        self._heard_s = self._started_s = time.monotonic()
        self._offset_ns = wall_offset_ns()
        self._starts += 1
        self._recorder.start()

    def _record(self) -> int:
        """In the recorder's process."""
        from tracer.agent.recorder import record

        self._close_ours()
        self._heard.close()
        if self._server:
            self._server.close()
        return record(self._config, self._store, self._theirs, self._packets)

    def _close_ours(self) -> None:
        """In a child: what is of the parent alone."""
        self._ours.close()
        os.close(self._wakeup)
        os.close(self._arriving)

    def _close_all(self) -> None:
        """In a child that neither records nor is counted: who outlives us does not hold the folder."""
        self._close_all_but_packets()
        self._packets.close()

    def _close_all_but_packets(self) -> None:
        self._close_ours()
        self._theirs.close()
        self._heard.close()
        if self._server:
            self._server.close()
        os.close(self._lock)

    def _start_exporter(self) -> None:
        self._exporter = None
        if server := self._server:
            self._exporter = Child("exporter of metrics", lambda: self._export(server))
            self._exporter.start()

    def _export(self, server: socket.socket) -> int:
        """In the exporter's process."""
        parent = os.getppid()
        self._close_ours()
        self._theirs.close()
        self._packets.close()
        os.close(self._lock)  # which the recorder alone holds with us
        return exporter.serve(server, self._heard, parent)

    def _report(self, kept: list[Kept], free: int) -> None:
        """Say what metrics count here."""
        said = {"from": "agent", "ready": int(self._is_ready), "paused": int(self._is_full)}
        said |= {"bytes": sum(one.bytes for one in kept)}
        said |= {"files": len(kept), "free": free, "starts": self._starts, "incidents": self._pending.kept}
        if kept:
            said["oldest"] = kept[0].written_ns // 1_000_000_000
        if self._exporter:
            with contextlib.suppress(OSError):
                self._packets.send(json.dumps(said).encode())

    def _start_publisher(self) -> None:
        publish = self._config.publish
        if publish is None:
            self._publisher = None
            return
        self._publisher = Child("publisher", lambda: self._publish(publish))
        self._publisher.start()

    def _publish(self, config: Publish) -> int:
        """In the publisher's process."""
        from tracer.agent.publisher import publish

        self._close_all_but_packets()
        return publish(config, self._store.path, self._packets, say)

    def _reap(self) -> None:
        self._pending.reap()
        for child in self._children():
            if child.ends_within(0):
                child.reap()
                if child.has_failed and not self._is_stopping and self._is_ready:
                    code = child.exit_code or 0
                    how = f"signal {-code}" if code < 0 else f"exit {code}"
                    say(f"the {child.name} has ended ({how}): it is started again")

    def _restart(self) -> None:
        """Start who has ended, when it is time."""
        for child in self._children() if not self._is_stopping else ():
            if child.runs or time.monotonic() < child.due_s or (child is self._recorder and self._is_full):
                continue
            if child is self._recorder:
                self._start_recorder()
            else:
                child.start()

    def _look(self) -> None:
        """Keep the store within its limits, and see whether the recorder is well."""
        self._looked_s = time.monotonic()
        record = self._config.record
        try:
            kept = self._store.retire(record)
            free = self._store.free_bytes()
        except (NstraceError, OSError) as error:
            say(str(error))
            return
        if self._is_full != (free < record.min_free_bytes):
            self._is_full = not self._is_full
            room = f"{self._store.path} has {size_text(free)} free, min_free is {size_text(record.min_free_bytes)}"
            say(f"{room}: recording {'pauses' if self._is_full else 'goes on'}")
            self._recorder.hurry()
        self._report(kept, free)
        if self._is_full:
            self._recorder.signal(signal.SIGTERM)
            notify("READY=1", "WATCHDOG=1", "STATUS=paused: the disk is full")
        elif self._recorder.runs:
            self._check_recorder()

    def _check_recorder(self) -> None:
        is_starting = self._heard_s == self._started_s
        most_s = _STARTING_S if is_starting else _SILENT_S
        if time.monotonic() - self._heard_s > most_s:
            say(f"the recorder has said nothing for {most_s:.0f} s: it is ended")
            self._recorder.signal(signal.SIGKILL)
        elif abs(wall_offset_ns() - self._offset_ns) > _MOST_OFF_NS:
            say("the clock was set: a new recording begins")
            self._offset_ns = wall_offset_ns()
            self._recorder.hurry()
            self._recorder.signal(signal.SIGTERM)
        elif is_starting:
            notify("WATCHDOG=1")

    def _reload(self) -> None:
        """Read the configuration again; the old one counts where it is wrong."""
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            new = _checked(self._named)
            if new.record.folder != self._config.record.folder:
                raise NstraceError("[record] folder changes with a restart alone", "systemctl restart nstrace")
            server = self._server
            if exporter.address_of(new.metrics) != exporter.address_of(self._config.metrics):
                server = exporter.listening(new.metrics) if new.metrics else None
        except NstraceError as error:
            say(f"{error.message}; what was read before counts")
        else:
            old, self._config = self._config, new
            say(f"{path_of(self._named)} was read again")
            if _for_recorder(old) != _for_recorder(new):
                self._recorder.hurry()
                self._recorder.signal(signal.SIGTERM)
            if server is not self._server:
                self._end(self._exporter)
                if self._server:
                    self._server.close()
                self._server = server
                self._start_exporter()
            if old.publish != new.publish and self._is_ready:
                self._end(self._publisher)
                self._start_publisher()
            self._look()
        notify("READY=1")

    def _stop(self) -> None:
        """End all children, in order where they can."""
        for child in self._children():
            child.signal(signal.SIGTERM)
        for child in self._children():
            self._end(child)
        beats.listen(self._ours, self._hear, self._hear_note)
        self._pending.finish(self._limits)

    def _end(self, child: Child | None) -> None:
        if child and child.pidfd is not None:
            child.signal(signal.SIGTERM)
            child.finish(PATIENCE_S, say)


def _for_recorder(config: Config) -> object:
    """What a recorder has to be started again for."""
    from dataclasses import replace

    record = replace(config.record, keep_s=None, min_free_bytes=0, folder=Path())
    named = config.metrics and config.metrics.containers
    return record, config.triggers, named, config.publish and config.publish.every_s
