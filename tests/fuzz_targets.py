"""What is fuzzed: each target takes any bytes, makes of them what strangers can send, and raises where the answer is
wrong. An NstraceError is an answer. To add one: a function here with @target, and a seed in tests/seeds/NAME/.

The bytes that were found to break something are kept there too (crash-*): `tests/unit/test_fuzz_targets.py` runs them
all, without a fuzzer. `scripts/fuzz` looks for more.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import fuzz_recording
import numpy as np
from numpy.typing import NDArray
from recordings import WALL_NS

from tracer.containers import cgroup_paths, messages
from tracer.containers.channel import Channel
from tracer.containers.engine import Engine
from tracer.containers.event_stream import StreamedLines, happened
from tracer.containers.http_api import HttpApi, Malformed, Refused, TooMuch
from tracer.errors import NstraceError
from tracer.host import procfs
from tracer.recording import frames
from tracer.recording.columns import to_arrow
from tracer.recording.metadata import of_this_host
from tracer.secrets.redactor import masked_args
from tracer.stream.batch import EVENT, PIECE, Batch, split_args
from tracer.stream.decoding import GapFinder, Joiner
from tracer.stream.schema import COMM_BYTES, INLINE_LEVELS, PIECE_BYTES, Kind, PieceKind
from tracer.system import cgroup_hierarchy
from tracer.text.annotate import Annotator
from tracer.text.cells import cell
from tracer.text.escape import command_line, decode, is_shown, safe, safe_json, safe_text

Target = Callable[[bytes], None]
SEEDS = Path(__file__).parent / "seeds"
TARGETS: dict[str, Target] = {}
_PATH_MAX = 4096  # bytes; the kernel shows no longer one (include/uapi/linux/limits.h)


def target(function: Target) -> Target:
    """Add a target under the function's name."""
    TARGETS[function.__name__] = function
    return function


class Dice:
    """Choices that are made by given bytes; by zeros behind their end."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def __bool__(self) -> bool:
        """Whether bytes are left."""
        return self._at < len(self._data)

    def take(self, length: int) -> bytes:
        """The next bytes, fewer at the end."""
        self._at += length
        return self._data[self._at - length : self._at]

    def number(self, most: int) -> int:
        """From 0 to most."""
        return int.from_bytes(self.take(1 if most < 256 else 2), "little") % (most + 1)

    def some(self, most: int) -> bytes:
        """Up to so many bytes."""
        return self.take(self.number(most))


# --- recordings


@target
def recording(data: bytes) -> None:
    """A recording, read and shown as every command does: as it is, and with checksums that fit."""
    fuzz_recording.show(data)
    if (signed := _signed(data)) != data:
        fuzz_recording.show(signed)


def _signed(data: bytes) -> bytes:
    """The same with the right checksum in every message, as far as it has the form of messages."""
    parts, at = [], 0
    with contextlib.suppress(frames.Damaged, KeyError):
        while at < len(data):
            length = frames.header_bytes(data[at : at + 8])
            message = frames.parse(data[at + 8 : at + 8 + length])
            end = at + 8 + length + message.body_bytes
            recorded = message.metadata["crc32"].encode()
            unsigned = message.header.replace(recorded, b"?" * 16, 1) if len(recorded) == 16 else message.header
            parts.append(frames.sign(data[at : at + 8] + unsigned + data[at + 8 + length : end]))
            at = end
    return b"".join(parts) + data[at:]


_FACTS = of_this_host(WALL_NS, ["nstrace"])


@target
def recorded_rows(data: bytes) -> None:
    """A recording that is right in its form, of rows with any values: what a forger writes with our own code."""
    dice = Dice(data)
    rows, heap = np.zeros(1 + dice.number(11), EVENT), b""
    for row in rows:
        for name in EVENT.names or ():
            how, size = dice.number(3), EVENT[name].itemsize
            if how == 1 and EVENT[name].kind == "u":
                row[name] = dice.number(255)
            elif how == 2:
                row[name] = np.frombuffer(dice.take(size).ljust(size, b"\0"), EVENT[name])[0]
        deep, exe, args = dice.take(16 * dice.number(2)), dice.some(60), dice.some(90)
        deep = deep[: len(deep) // 16 * 16]
        row["kind"], row["level"] = dice.number(max(Kind)), dice.number(INLINE_LEVELS - 1) + len(deep) // 16
        killer = (b"", b"{}", b'{"kernel":true}', exe)[dice.number(3)]
        row["deep_len"], row["exe_len"], row["args_len"] = len(deep) + len(killer), len(exe), len(args)
        row["killer_len"] = len(killer)
        heap += deep + killer + exe + args
    times = {"first_ns": str(rows["ts_ns"].min()), "last_ns": str(rows["ts_ns"].max())}
    whose = {name: _FACTS[name] for name in ("session", "part")}
    with contextlib.suppress(ValueError):  # our own writer refuses it
        columns = to_arrow(Batch(rows, heap), WALL_NS)
        message = frames.of_batch(columns, {"first_row": "0", "lost": "0", "facts": "1", **times, **whose})
        fuzz_recording.show(frames.of_schema(_FACTS) + message)


# --- the ring


@target
def joiner(data: bytes) -> None:
    """Records of several CPUs, cut anywhere; some events are refused before, among or behind their pieces."""
    dice = Dice(data)
    told: list[tuple[int, int, bytes, bytes, bytes]] = []
    named: list[tuple[int, bytes]] = []
    queues: dict[int, list[NDArray[Any]]] = defaultdict(list)
    seqs: dict[int, int] = defaultdict(int)
    due: list[tuple[int, int, tuple[int, int, bytes, bytes, bytes] | tuple[int, bytes]]] = []
    for _event in range(16):
        if not dice:
            break
        cpu = dice.number(2)
        parts = (dice.take(16 * dice.number(3)), dice.some(300), dice.some(600))
        name = dice.some(200) if dice.number(3) == 0 else b""
        records, owners = _as_the_kernel_writes(cpu, seqs[cpu], name, parts, dice.take(COMM_BYTES))
        kept = len(records) - dice.number(len(records)) if dice.number(3) == 0 else len(records)
        for place, record in enumerate(records[:kept]):
            queues[cpu].append(record)
            if place in owners:
                due.append((cpu, len(queues[cpu]) - 1, owners[place]))
        seqs[cpu] += 1
    order = _interleaved(queues, dice)
    owed = {(cpu, place): what for cpu, place, what in due}
    for cpu, place in order:
        what = owed.get((cpu, place))
        if what and len(what) == 2:
            named.append(what)
        elif what and len(what) == 5:
            told.append(what)
    _check_joined([queues[cpu][place] for cpu, place in order], dice, told, named)


def _as_the_kernel_writes(
    cpu: int, seq: int, name: bytes, parts: tuple[bytes, bytes, bytes], comm: bytes
) -> tuple[list[NDArray[Any]], dict[int, Any]]:
    """The records of one event, and by the place of a record what is complete with it."""
    records = []
    owners: dict[int, Any] = {}
    kinds = (PieceKind.CGROUP, PieceKind.CHAIN, PieceKind.EXE, PieceKind.ARGS)
    for kind, raw in zip(kinds, (name, *parts), strict=True):
        pieces = [raw[at : at + PIECE_BYTES] for at in range(0, len(raw), PIECE_BYTES)]
        for number, part in enumerate(pieces):
            piece = np.zeros(1, PIECE)
            piece["cpu"], piece["seq"], piece["kind"], piece["len"] = cpu, seq, kind, len(part)
            piece["bytes"][0, : len(part)] = np.frombuffer(part, np.uint8)
            if kind == PieceKind.CGROUP:
                piece["id"], piece["last"] = seq * 8 + cpu, number == len(pieces) - 1
            records.append(piece.view(EVENT))
        if kind == PieceKind.CGROUP and pieces:
            owners[len(records) - 1] = (seq * 8 + cpu, raw)
    event = np.zeros(1, EVENT)
    event["cpu"], event["seq"], event["kind"], event["comm"] = cpu, seq, Kind.EXEC, comm
    event["level"] = INLINE_LEVELS + len(parts[0]) // 16 - 1
    event["deep_len"], event["exe_len"], event["args_len"] = map(len, parts)
    owners[len(records)] = (cpu, seq, *parts)
    return [*records, event], owners


def _interleaved(queues: dict[int, list[NDArray[Any]]], dice: Dice) -> list[tuple[int, int]]:
    """CPU and place of all records, those of each CPU in their order."""
    left = dict.fromkeys(sorted(queues), 0)
    order = []
    while left:
        cpu = list(left)[dice.number(len(left) - 1)]
        if left[cpu] == len(queues[cpu]):
            del left[cpu]
            continue
        order.append((cpu, left[cpu]))
        left[cpu] += 1
    return order


def _check_joined(
    records: list[NDArray[Any]],
    dice: Dice,
    told: list[tuple[int, int, bytes, bytes, bytes]],
    named: list[tuple[int, bytes]],
) -> None:
    joined, finder = Joiner(), GapFinder()
    seen, names, lost = [], [], 0
    while records:
        count = 1 + dice.number(len(records) - 1)
        batch, cgroups, _removed = joined.join(np.concatenate(records[:count]))
        del records[:count]
        names += [(one.cgroup_id, one.name) for one in cgroups]
        for index, row in enumerate(batch.rows):
            seen.append((int(row["cpu"]), int(row["seq"]), *batch.payload(index)[:3]))
        checked = finder.check(batch)
        lost += int(checked.rows["seq"][checked.rows["kind"] == Kind.GAP].sum())
    assert seen == told
    assert names == [(number, raw.decode("utf-8", "backslashreplace")) for number, raw in named]
    holes = {cpu: max(seq for at, seq, *_ in told if at == cpu) + 1 for cpu, *_ in told}
    assert lost == sum(holes.values()) - len(told)
    assert not finder.faults


# --- /proc and cgroups


@target
def cgroup_path(data: bytes) -> None:
    """A cgroup's path, whose parts anyone who may make cgroups chooses."""
    path = "/" + os.fsdecode(data[:_PATH_MAX]).replace("\0", "/")
    found = cgroup_paths.find(path)
    listed = cgroup_paths.find(path, lambda _id: "docker")
    parts = path.removesuffix(" (deleted)").removeprefix("/").split("/")
    for one in (found, listed):
        if one is not None:
            assert 1 <= one.depth <= len(parts)
            shown = "/".join(parts[max(0, one.depth - 2) : one.depth])
            said = one.name or one.id
            assert said and (said in shown or said in shown.replace(r"\x2d", "-"))
            own = "/".join(part for part in parts[: one.depth] if part != "..")
            assert one.id == own if one.name else len(one.id) == 64
            assert one.runtime
    assert found is None or listed is not None


@target
def proc(data: bytes) -> None:
    """What a process chooses of itself, in files as the kernel writes them, changes none of its other facts."""
    dice = Dice(data)
    comm = dice.some(63).replace(b"\0", b"") if dice.number(1) else dice.some(15).replace(b"\0", b"")
    cgroup = b"/" + dice.some(200).replace(b"\0", b"").replace(b"\n", b"")
    exe, args = dice.some(200).replace(b"\0", b"") or b"x", dice.some(600)
    escaped = comm.replace(b"\\", b"\\\\").replace(b"\n", b"\\n")
    fields = b" ".join(b"%d" % number for number in range(4, 53))
    files = {
        "stat": b"4711 (%s) S 77 %s\n" % (comm, fields),
        "status": b"Name:\t%s\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNStgid:\t4711\nNSpid:\t4711\n"
        b"Uid:\t1000\t0\t0\t0\n" % escaped,
        "cmdline": args,
        "cgroup": b"12:pids,cpu:/other%s\n1:name=systemd:/\n0::%s\n" % (cgroup, cgroup),
    }
    found = _read(files, exe)
    assert (found.comm, found.args, found.exe) == (comm, args, exe)
    assert (found.tgid, found.numbers, found.parent_tgid, found.uid, found.state) == (4711, (4711,), 77, 1000, "S")
    assert found.proc_id.start_ns == 21 * procfs.TICK_NS
    path = os.fsdecode(cgroup)
    assert set(found.cgroups) == {f"/other{path}", "/", path}
    assert cgroup_hierarchy.paths(os.fsdecode(files["cgroup"]), "pids")[0] == f"/other{path}"


def _read(files: dict[str, bytes], exe: bytes) -> procfs.LivingProcess:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        for name, content in files.items():
            Path(folder, name).write_bytes(content)
        Path(folder, "exe").symlink_to(os.fsdecode(exe))
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return procfs.read_process(directory, lambda _fd: ())
        finally:
            os.close(directory)


# --- answers of the engine


@target
def engine_answer(data: bytes) -> None:
    """What a socket answers to the questions about the version, all containers and one of them, a NUL between them.
    The first byte: whether HTTP goes ahead of each."""
    is_body, answers = data[:1] < b"\x80", data[1:].split(b"\0")

    def dial(_request: object, _until_s: float) -> int:
        body = answers.pop(0) if answers else b"{}"
        ours, theirs = socket.socketpair()
        theirs.send((b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) if is_body else b"") + body)
        theirs.close()
        return ours.detach()

    engine = Engine("unix:///nowhere", dial)
    until_s = time.monotonic() + 60
    with contextlib.suppress(NstraceError):
        for found in engine.listed(1, None, until_s):
            packet = messages.encode(found)
            assert len(packet) <= messages.MAX_PACKET_BYTES
            assert messages.decode_answer(packet) == found
    with contextlib.suppress(NstraceError):
        tgid = engine.init_tgid("web", until_s)
        assert tgid is None or 0 < tgid <= messages.MAX_TGID


@target
def engine_process(data: bytes) -> None:
    """What the process that asks the engine says, once an engine has taken it over: packets, FF between them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    ended = list[bool]()
    running = SimpleNamespace(channel=ours, close=lambda: ended.append(True))
    channel = Channel(running)  # type: ignore[arg-type]
    asked = [channel.ask_list(None, 60), channel.ask_list({"a" * 64}, 60), channel.ask_first("a" * 64, 60)]
    for packet in list(filter(None, data.split(b"\xff\xff")))[:64]:
        theirs.send(packet)
    theirs.close()
    while channel.receive() and not ended:
        pass
    ours.close()
    assert all(one.is_done for one in asked)
    assert set(asked[1].found) <= {"a" * 64}
    for one in asked:
        assert one.tgid is None or 0 <= one.tgid <= messages.MAX_TGID
        assert len(one.found) <= messages.MAX_CONTAINERS


# --- what is shown


@target
def shown(data: bytes) -> None:
    """Any bytes as text, JSON and a cell: nothing unseen, and JSON the same value."""
    for text in (safe(data), safe_text(data.decode("utf-8", "surrogateescape")), cell(decode(data))):
        assert is_shown(text)
        text.encode()
    assert is_shown(command_line(data.split(b"\0")))
    plain = decode(data)
    line = safe_json(json.dumps(plain, ensure_ascii=False))
    assert is_shown(line) and json.loads(line) == plain
    assert cell(plain)[:1] not in "=+-@\t\r" or not plain


@target
def arguments(data: bytes) -> None:
    """Arguments whose secrets are masked: as many arguments as before, and nothing new is found in what is shown."""
    is_cut, args = data[:1] >= b"\x80", data[1:]
    masked, count = masked_args(args, is_cut)
    assert len(split_args(masked)) == len(split_args(args))
    assert count or masked == args
    assert masked_args(masked, is_cut)[0].count(b"\0") == masked.count(b"\0")


@target
def engine_http(data: bytes) -> None:
    """What an engine sends on a connection, whole."""
    ours, theirs = socket.socketpair()
    sent = data[: 1 << 15]
    with theirs, contextlib.suppress(OSError, Refused, TooMuch, Malformed):
        theirs.sendall(sent)
        theirs.shutdown(socket.SHUT_WR)
        body = HttpApi(lambda _request, _until_s: ours.detach()).version(time.monotonic() + 60)
        left = iter(sent)
        assert b"200" in sent and all(byte in left for byte in body)  # what was sent, in its order


@target
def engine_events(data: bytes) -> None:
    """What an engine streams on a connection, FF between the pieces in which it comes."""
    stream, sent = StreamedLines(), data[: 1 << 17]
    with contextlib.suppress(Refused, TooMuch, Malformed):
        for piece in sent.split(b"\xff"):
            for line in stream.feed(piece):
                if said := happened(line, "docker"):
                    packet = messages.encode(said)
                    assert len(packet) <= messages.MAX_PACKET_BYTES and len(said.name or "") <= 1024
                    assert messages.decode_answer(packet) == said


# --- log lines


@target
def log_lines(data: bytes) -> None:
    """Text in which numbers are translated: all else passes as it is, however it is cut."""
    size, text = data[0] + 1 if data else 1, data[1:]
    seen = list[int]()

    def translate(number: int) -> bytes | None:
        seen.append(number)
        return b"\0mark\0" if number % 3 else None

    whole = Annotator(translate, replace=False)
    marked = whole.take(text) + whole.finish()
    cut = Annotator(translate, replace=False)
    assert b"".join(cut.take(text[at : at + size]) for at in range(0, len(text), size)) + cut.finish() == marked
    assert marked.replace(b"[\0mark\0]", b"") == text or b"\0mark\0" in text
    assert all(0 < number <= 4194304 for number in seen)
