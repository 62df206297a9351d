"""The event, declared once: its kinds, flags, fields and columns. Everything else about its form is derived from here.

- The record that the programs write: bpf/event.h (scripts/generate writes its declarations) and EVENT, the numpy
  dtype in `tracer.stream.batch`.
- Which values are known: `tracer.stream.known`, which every output uses.
- What users see: the columns of a recording (`recording.schema`) and of exports (`recording.flat`), the members of the
  JSON (`views.jsonl`), the typed events (`tracer.stream.typed`) and docs/schema.md, the names that --events accepts.
- Named sets of kinds, and the size of the kernel's counters.

Imports no library: the command line uses it too.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum, IntFlag
from typing import Any, NamedTuple


class Kind(IntEnum):
    """What a row of the stream reports. KINDS describes each."""

    FORK = 1
    EXEC = 2
    EXIT = 3
    THREAD_FORK = 4
    THREAD_EXIT = 5
    SNAPSHOT = 6
    GAP = 7
    CGROUP = 8
    PIDNS = 9
    REPAIR = 10
    MOVE = 11
    EXEC_FAILED = 12
    CONTAINER = 13
    SESSION = 14


class Maker(Enum):
    """What produces the rows of a kind."""

    PROBE = "a probe, when it happens"
    ITERATOR = "the kernel's list of tasks"
    READER = "the reader"


class Subject(Enum):
    """What a row is about."""

    PROCESS = "a process"
    THREAD = "a thread"
    CONTAINER = "a container"
    STREAM = "the stream"


class KindTraits(NamedTuple):
    """The properties of a kind.

    is_shown: users see it, as a line and as a row of tables; others carry metadata for the reader. is_event: --events
    can select it. has_process: its rows identify a process. is_life: after such a row its process lives, as described.
    has_command: its rows carry a file name and arguments. can_fail: its rows can report a failure.
    """

    maker: Maker
    subject: Subject
    doc: str
    is_shown: bool = True
    is_event: bool = False
    has_process: bool = True
    is_life: bool = False
    has_command: bool = False
    can_fail: bool = False


KINDS = {
    Kind.FORK: KindTraits(Maker.PROBE, Subject.PROCESS, "A process began.", is_event=True, is_life=True),
    Kind.EXEC: KindTraits(
        Maker.PROBE, Subject.PROCESS, "A process runs another program.",
        is_event=True, is_life=True, has_command=True,
    ),
    Kind.EXEC_FAILED: KindTraits(
        Maker.PROBE, Subject.PROCESS,
        "A process could not run a file: the last one that it tried, reported when it ends or runs another program."
        " Where a command was looked up along PATH and found, the misses before are not reported.",
        is_event=True, has_command=True, can_fail=True,
    ),
    Kind.EXIT: KindTraits(
        Maker.PROBE, Subject.PROCESS,
        "A process ended: its last thread exited, whichever that was. With what it ran: since its last exec, or as its"
        " parent did when it forked it.",
        is_event=True, has_command=True, can_fail=True,
    ),
    Kind.MOVE: KindTraits(
        Maker.PROBE, Subject.PROCESS, "A process moved to another cgroup, `cgroup_id`.", is_shown=False
    ),
    Kind.THREAD_FORK: KindTraits(Maker.PROBE, Subject.THREAD, "A thread began that is not its process's first."),
    Kind.THREAD_EXIT: KindTraits(Maker.PROBE, Subject.THREAD, "A thread ended, but not its process."),
    Kind.SNAPSHOT: KindTraits(
        Maker.ITERATOR, Subject.PROCESS, "A process that existed before it could be followed.",
        is_event=True, is_life=True, has_command=True,
    ),
    Kind.GAP: KindTraits(
        Maker.READER, Subject.STREAM,
        "Events were lost: `lost` of them between `since` and `until`, on `cpu`. With a namespace and a cgroup: events"
        " of that pair alone.",
        has_process=False,
    ),
    Kind.CGROUP: KindTraits(
        Maker.READER, Subject.STREAM,
        "What `cgroup_id` stands for: args is the JSON of a CgroupFact.",
        is_shown=False, has_process=False,
    ),
    Kind.PIDNS: KindTraits(
        Maker.READER, Subject.STREAM,
        "The first process of a nested PID namespace appeared, reported for the namespace's sake alone. args is the"
        " JSON of the Container that it belongs to, where an engine reports that and its cgroup does not show it.",
        is_shown=False,
    ),
    Kind.REPAIR: KindTraits(
        Maker.READER, Subject.STREAM,
        "The processes were compared with the kernel's list: what the stream reports of them is right again, except for"
        " losses after `since`, when reading the list began.",
        has_process=False,
    ),
    Kind.CONTAINER: KindTraits(
        Maker.READER, Subject.CONTAINER,
        "What happened to a container, `action`: it was created, started, paused, unpaused, renamed, stopped, removed,"
        " ran out of memory. In the record, args is the JSON of a LifeFact.",
        is_event=True, has_process=False,
    ),
    Kind.SESSION: KindTraits(
        Maker.READER, Subject.CONTAINER,
        "A process came into a container from outside, by docker exec or nsenter, or its session ended: `action`. In"
        " the record, args is the JSON of a SessionFact.",
        is_event=True, has_process=False,
    ),
}  # fmt: skip
"""The properties of every kind."""


def _kinds_with(has: Callable[[KindTraits], bool]) -> tuple[Kind, ...]:
    return tuple(kind for kind, traits in KINDS.items() if has(traits))


COUNTED_KINDS = _kinds_with(lambda traits: traits.maker is Maker.PROBE)
"""The kinds that the programs count."""
COUNTER_SLOTS = 1 << max(COUNTED_KINDS).bit_length()
"""The dimension of the programs' counters: a kind is an index, masked for the verifier."""
STREAM_KINDS = _kinds_with(lambda traits: traits.subject is Subject.STREAM)
"""Kinds of rows that are about the stream itself, not about one process."""
CONTAINER_KINDS = _kinds_with(lambda traits: traits.subject is Subject.CONTAINER)
"""Kinds of rows about a container as a whole, or about a session in it: which, and what, is in their args."""
PROCESS_KINDS = frozenset(_kinds_with(lambda traits: traits.has_process))
"""Kinds of rows that identify a process."""
SHOWN_KINDS = frozenset(_kinds_with(lambda traits: traits.is_shown))
"""Kinds that users see."""
METADATA_KINDS = _kinds_with(lambda traits: not traits.is_shown)
"""Kinds that users do not see as rows: they fill the columns about containers."""
NOTE_KINDS = frozenset(SHOWN_KINDS & set(STREAM_KINDS))
"""Kinds that are always shown, in lines of their own form: they say how complete the stream is."""
ASIDE_KINDS = frozenset(NOTE_KINDS | set(CONTAINER_KINDS))
"""Kinds of rows that have lines of their own form, for they are about no process."""
LIFE_KINDS = _kinds_with(lambda traits: traits.is_life)
"""Kinds of rows after which the process lives."""
TRACED_KINDS = tuple(kind for kind in COUNTED_KINDS if KINDS[kind].is_event)
"""What processes do in their lives, as --events names it."""
COMMAND_KINDS = _kinds_with(lambda traits: traits.has_command)
"""Kinds of rows that carry a file name and arguments."""
FAILING_KINDS = frozenset(_kinds_with(lambda traits: traits.can_fail))
"""Kinds of rows that can report a failure: what --failed shows."""
EVENT_NAMES = tuple(kind.name.lower() for kind in _kinds_with(lambda traits: traits.is_event))
"""The names that --events accepts."""
SUMMARY_KINDS = tuple(kind for kind in COUNTED_KINDS if kind in SHOWN_KINDS)
"""The kinds that a summary and --count count: events that happened while the stream ran."""


COMMAND_FIELDS = ("comm", "args", "exe")
"""The columns that say what a process runs."""


class PieceKind(IntEnum):
    """What a piece of the ring carries for the event behind it."""

    CHAIN = 16
    EXE = 17
    ARGS = 18
    CGROUP = 19
    KILLER = 20
    REMOVED = 21  # of none: a cgroup was removed


class Sender(IntEnum):
    """Who has sent a signal, in the note that the programs make of it: SENDERS describes each."""

    PROCESS = 1
    KERNEL = 2
    OOM = 3
    PIDNS_ENDED = 4
    PARENT_ENDED = 5
    UNSURE = 6
    PARENT_THREAD_ENDED = 7
    AT_EXIT = 8


SENDERS = {
    Sender.PROCESS: "the process that the note names",
    Sender.KERNEL: "the kernel, of its own accord: it names nobody",
    Sender.OOM: "the kernel, out of memory; named: who asked for some",
    Sender.PIDNS_ENDED: "the kernel; named: a PID namespace's first process, which ended",
    Sender.PARENT_ENDED: "the kernel; named: the parent, which ended (PR_SET_PDEATHSIG)",
    Sender.UNSURE: "it is not known who: several have, or it may have been the process itself or the kernel",
    Sender.PARENT_THREAD_ENDED: "the kernel; named: the parent, of which the thread ended that had forked it",
    Sender.AT_EXIT: "the kernel, when a process ended: of its terminal, or of who was stopped; it names nobody",
}
"""For every sender, what it means."""


class Flag(IntFlag):
    """Bits of the field flags."""

    ARGS_TRUNCATED = 1
    INFERRED = 2
    ENDED = 4
    UNDECIDED = 8
    ENDING = 16
    THROTTLED = 32
    MOVED = 64
    CARRIED = 128


FLAGS = {
    Flag.ARGS_TRUNCATED: "The arguments, or the file name, were longer than the limit.",
    Flag.INFERRED: "No event reported this: a comparison with the kernel's list of processes did.",
    Flag.ENDED: "Of a snapshot: the exit event of its last thread came before it.",
    Flag.UNDECIDED: "The programs had no decision about its pair of namespace and cgroup.",
    Flag.ENDING: "Of a snapshot: all its threads are about to end, or have ended.",
    Flag.THROTTLED: "Of a gap: these events were refused so that those of others find room.",
    Flag.MOVED: "Of a snapshot: the process came in from another cgroup at this moment. Of what the programs write:"
    " it has moved between cgroups, so it may have been reported before, whatever its pair is now.",
    Flag.CARRIED: "Of a snapshot: repeated at the beginning of a file. No end of the process has been reported; what"
    " the row says comes from an event in an earlier file.",
}
"""For every flag, what it means where it is set."""

TOLD_LATER = Flag.INFERRED | Flag.MOVED | Flag.CARRIED
"""Of what a list or the table has shown. The process may have ended between that and the time of the row, and its exit
be among events that were lost."""
INTERNAL_FLAGS = Flag.UNDECIDED
"""Flags that only the programs and their reader use: they appear in no output."""

NO_CPU = 0xFFFF
"""The cpu of a GAP row whose CPU is not known."""

INLINE_LEVELS, COMM_BYTES = 3, 16


class Field(NamedTuple):
    """A member of a structure that the programs write. type: the C type."""

    name: str
    type: str
    doc: str = ""


NUMBER_FIELDS = (
    Field("inum", "u32", "inode number of the namespace: reused at once"),
    Field("nr", "u32"),
    Field("gen", "u64", "distinguishes namespaces with the same inum; initial = 0"),
)
"""struct number: the number that a process has in one PID namespace."""

EVENT_FIELDS = (
    Field("ts_ns", "u64", "CLOCK_BOOTTIME"),
    Field("seq", "u64", "per CPU, counts attempts: a hole is a loss"),
    Field("kind", "u8"),
    Field("flags", "u8"),
    Field("level", "u8", "of the innermost namespace; initial = 0"),
    Field("state", "u8", "snapshot: the letter that ps shows"),
    Field("cpu", "u16"),
    Field("exec_id", "u16", "incremented by each exec; a fork inherits its parent's"),
    Field("start_ns", "u64", "with tgid the identity of the process"),
    Field("parent_start_ns", "u64"),
    Field("cgroup_id", "u64", "of the leader, like all that belongs to the process"),
    Field("tgid", "u32"),
    Field("tid", "u32"),
    Field("vtid", "u32"),
    Field(
        "old_tid",
        "u32",
        "exec: the caller's tid before it; fork: the tgid of who forked, which with CLONE_PARENT is not the parent",
    ),
    Field("parent_tgid", "u32"),
    Field("parent_vtgid", "u32", "0: the parent is not in this namespace"),
    Field("uid", "u32", "real uid in the initial user namespace"),
    Field("status", "u32", "exit: as wait(2) reports it; failed exec: errno"),
    Field("deep_len", "u32", "bytes in pieces: ahead of the file name: rest of the chain, then the killer;"),
    Field("exe_len", "u32", "file name,"),
    Field("args_len", "u32", "arguments"),
    Field("args_total", "u32", "how many bytes the arguments had"),
    Field("killer_len", "u32", "exit: of deep_len, the bytes of the killer"),
    Field("session", "u32", "set by the reader: the session that the process belongs to; 0: none"),
    Field("comm", f"char[{COMM_BYTES}]"),
    Field("chain", "struct number[INLINE_LEVELS]", "innermost first"),
)
"""struct event: the record, one size for all. The reader's own rows use some fields otherwise: a GAP has in seq how
many events were lost, in start_ns and ts_ns since and until when; a MOVE in seq the cgroup that its process left; a
row from a list in seq when its command was read from /proc."""

PIECE_FIELDS = (
    Field("id", "u64", "cgroup: its id; else 0"),
    Field("seq", "u64", "that of the event that follows it"),
    Field("kind", "u8"),
    Field("last", "u8", "cgroup: the name ends here"),
    Field("len", "u16", "of bytes"),
    Field("cpu", "u16"),
    Field("pad", "u16"),
    Field("parent_id", "u64", "cgroup: the parent's id, 0 at the root"),
    Field("maker", "u64", "cgroup: the parent's owner; higher bits: others may write there"),
    Field("bytes", "char[PIECE_BYTES]"),
)
"""struct piece: of the same size; seq, kind and cpu are where the event has them."""

MAX_LEVELS = 32
"""How deep PID namespaces can lie below the initial one: MAX_PID_NS_LEVEL, include/linux/pid_namespace.h."""
KILLER_FIELDS = (
    Field("start_ns", "u64", "with tgid the identity of the sender"),
    Field("cgroup_id", "u64"),
    Field("gen", "u64", "with inum its innermost namespace"),
    Field("inum", "u32"),
    Field("tgid", "u32", "0: nobody is named"),
    Field("code", "u32", "si_code, signed: why"),
    Field("thread", "u32", "the thread that it was sent to; 0: the process"),
    Field("sender", "u8"),
    Field("level", "u8", "of its innermost namespace, and how many numbers there are"),
    Field("pad", "u16"),
    Field("more_pad", "u32"),
    Field("comm", f"char[{COMM_BYTES}]"),
    Field("numbers", "u32[MAX_LEVELS]", "below the initial namespace, outermost first"),
)
"""struct killer: who sent a signal that can end a process. Of its numbers the first `level` are reported."""


_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8, "char": 1, "struct number": 16}
_LENGTHS = {"": 1, "INLINE_LEVELS": INLINE_LEVELS, "PIECE_BYTES": 0, str(COMM_BYTES): COMM_BYTES}


def _size(fields: tuple[Field, ...]) -> int:
    """In bytes, without padding."""
    types = (field.type.removesuffix("]").partition("[") for field in fields)
    return sum(_SIZES[base] * _LENGTHS[length] for base, _, length in types)


EVENT_BYTES = _size(EVENT_FIELDS)
"""A multiple of 8: C pads the structure to that."""
PIECE_BYTES = EVENT_BYTES - _size(PIECE_FIELDS)
"""What a piece has room for, so that it is as long as an event."""


class Rule(NamedTuple):
    """When a column has a value: in rows of the kinds `reported`, in INFERRED rows of the kinds `inferred`. where:
    takes rows (array of EVENT, shape (n,)) and returns in which of them it has one, shape (n,); None: in all."""

    reported: frozenset[Kind]
    inferred: frozenset[Kind]
    where: Callable[[Any], Any] | None = None


def _kinds(*kinds: Kind) -> frozenset[Kind]:
    return frozenset(kinds)


def _has_comm(rows: Any) -> Any:
    return rows.getfield("u1", rows.dtype.fields["comm"][1]) != 0  # its first byte: a fifth of the time


_NONE = _kinds()
_TRACED = frozenset(COUNTED_KINDS)
# What is inferred from the kernel's list is as it was then. An exit is inferred for a process that had left the
# list, a snapshot for one from its first event, which came later.
_LISTED = _kinds(Kind.FORK, Kind.EXEC)
_UNSEEN, _CARRIED = int(Flag.INFERRED), int(Flag.CARRIED)

_EVERY_PROCESS = Rule(PROCESS_KINDS, PROCESS_KINDS)
_ABOUT_CONTAINERS = frozenset(CONTAINER_KINDS)
# What a row about a container says is in its fact, whether an event reported it or not.
_INFERRED_TOO = PROCESS_KINDS | _ABOUT_CONTAINERS
_ATTRIBUTED = Rule(PROCESS_KINDS | {Kind.GAP} | _ABOUT_CONTAINERS, _INFERRED_TOO)
# What ran before a process's first exec is not known.
_COMM = _EVERY_PROCESS._replace(where=lambda rows: _has_comm(rows) | (rows["flags"] & _UNSEEN == 0))
# What a process ran that ended unseen is not known either: it may have been another program by then.
_COMMAND = Rule(
    frozenset(COMMAND_KINDS), _kinds(Kind.SNAPSHOT, Kind.EXEC, Kind.FORK),
    lambda rows: (rows["kind"] != Kind.EXIT) | (rows["exe_len"] + rows["args_len"] != 0),
)  # fmt: skip
_EXE = _COMMAND._replace(where=lambda rows: rows["exe_len"] != 0)
# A process whose file name and arguments could not be read had exited, or is a kernel thread. A cgroup row
# says in args what the cgroup stands for, a pidns row whose the namespace is, where an engine reports that.
_ARGS = Rule(
    _COMMAND.reported | {Kind.CGROUP, Kind.PIDNS},
    _COMMAND.inferred,
    lambda rows: (
        (rows["kind"] != Kind.EXEC_FAILED)
        & ((rows["args_len"] != 0) | (rows["exe_len"] != 0) & (rows["kind"] != Kind.PIDNS))
    ),
)
_END = Rule(_kinds(Kind.EXIT), _NONE)
_FAILURE = Rule(_kinds(Kind.EXEC_FAILED), _NONE, lambda rows: rows["status"] != 0)  # 0 is no error
_LOSS = Rule(_kinds(Kind.GAP), _NONE)
# No event reports which process has adopted an orphan meanwhile.
_PARENT = Rule(PROCESS_KINDS, _LISTED, lambda rows: (rows["parent_tgid"] != 0) | (rows["flags"] & _CARRIED == 0))
_PARENT_ID = _PARENT._replace(where=lambda rows: rows["parent_tgid"] != 0)
_SPACE = Rule(
    PROCESS_KINDS | {Kind.GAP} | _ABOUT_CONTAINERS, _INFERRED_TOO, lambda rows: rows["chain"]["inum"][:, 0] != 0
)
_CGROUP = Rule(
    PROCESS_KINDS | {Kind.GAP, Kind.CGROUP} | _ABOUT_CONTAINERS, _INFERRED_TOO, lambda rows: rows["cgroup_id"] != 0
)
_KILLED = Rule(_kinds(Kind.EXIT, Kind.CONTAINER), _NONE, lambda rows: rows["killer_len"] != 0)
# The OOM killer sends SIGKILL (9), and nothing else.
_OOM = Rule(
    _kinds(Kind.EXIT, Kind.CONTAINER), _NONE, lambda rows: (rows["killer_len"] != 0) | (rows["status"] & 0x7F != 9)
)
_FACT = Rule(_ABOUT_CONTAINERS, _ABOUT_CONTAINERS)
_HOW = Rule(_kinds(Kind.EXIT) | _ABOUT_CONTAINERS, _ABOUT_CONTAINERS)  # of the latter in their fact
_SESSION = Rule(PROCESS_KINDS | {Kind.SESSION}, PROCESS_KINDS | {Kind.SESSION}, lambda rows: rows["session"] != 0)
_VISIT = Rule(_kinds(Kind.SESSION), _kinds(Kind.SESSION))
_LIFE = Rule(_kinds(Kind.CONTAINER), _kinds(Kind.CONTAINER))
_OLD_CGROUP = Rule(_kinds(Kind.MOVE), _NONE, lambda rows: rows["seq"] != 0)
_START = Rule(PROCESS_KINDS | {Kind.GAP, Kind.REPAIR}, PROCESS_KINDS)
_UID = Rule(PROCESS_KINDS, _LISTED)
# A list of processes is read on one CPU, which says nothing about the processes.
_CPU = Rule(_TRACED | {Kind.GAP}, _NONE, lambda rows: rows["cpu"] != NO_CPU)
_OLD_TID = Rule(_kinds(Kind.EXEC), _NONE, lambda rows: (rows["old_tid"] != 0) & (rows["old_tid"] != rows["tgid"]))
_STATE = Rule(_kinds(Kind.SNAPSHOT), _kinds(Kind.SNAPSHOT), lambda rows: rows["state"] != 0)
# A gap on a CPU from which nothing was read before began at some time since the start.
_SINCE = Rule(
    _kinds(Kind.GAP, Kind.REPAIR), _NONE, lambda rows: (rows["kind"] == Kind.REPAIR) | (rows["start_ns"] != 0)
)


class Output(IntFlag):
    """The outputs that have a column. THREADS: JSON with --threads only. MARK: JSON, only where it is true."""

    RECORDING = 1
    EXPORT = 2
    JSON = 4
    THREADS = 8
    MARK = 16


_FILES, _TABLE = Output.RECORDING | Output.EXPORT, Output.EXPORT
_EVERYWHERE, _ANSWERS = Output.RECORDING | Output.EXPORT | Output.JSON, Output.EXPORT | Output.JSON


class Column(NamedTuple):
    """A value that users see, under its name in JSON and in tables.

    type: "time" (ns since the epoch, UTC), "string", "bool", "int32", "int64" or a list of these, as in exports. rule:
    where it is known, null elsewhere; None: in every row. field: the member of the record that it shows; flag: the bit
    of flags; "" and 0: it is made from several. absent: what the record's member holds where it is null. stored: its
    type in a recording, where that differs: bytes are stored as they came.
    """

    name: str
    type: str
    doc: str
    rule: Rule | None = None
    outputs: Output = _EVERYWHERE
    unit: str = ""
    field: str = ""
    flag: int = 0
    absent: int = 0
    stored: str = ""


COLUMNS = (
    Column("time", "time", "When it happened, by the wall clock."),
    Column("event", "string", "The kind of event."),
    Column("host", "string", "The host on which it was recorded.", outputs=_TABLE),
    Column(
        "container", "string", "The container: its name, or the first 12 digits of its id. In JSON an object.",
        _ATTRIBUTED, _ANSWERS,
    ),
    Column(
        "container_id", "string",
        "The container's id; where its runtime has none (LXC, nspawn, ctr), the path of its own cgroup.",
        _ATTRIBUTED, _TABLE,
    ),
    Column("image", "string", "The container's image.", _ATTRIBUTED, _TABLE),
    Column("runtime", "string", "The engine or runtime of the container, such as docker or podman.",
           _ATTRIBUTED, _TABLE),
    Column("pod_uid", "string", "The uid of the container's Kubernetes pod. In JSON a member of the container.",
           _ATTRIBUTED, _TABLE),
    Column("pod", "string", "The name of that pod, where the node says it.", _ATTRIBUTED, _TABLE),
    Column("pod_namespace", "string", "The Kubernetes namespace of that pod.", _ATTRIBUTED, _TABLE),
    Column("task", "string", "The task of the container, of Amazon's ECS.", _ATTRIBUTED, _TABLE),
    Column("incarnation", "int32", "Which life of the container, counted from 1.", _ATTRIBUTED, _ANSWERS),
    Column("pid", "int32", "PID on the host: in the initial PID namespace.", _EVERY_PROCESS, field="tgid"),
    Column("ns_pid", "int32", "PID in the innermost PID namespace.", _EVERY_PROCESS),
    Column("ppid", "int32", "The parent's PID on the host.", _PARENT, field="parent_tgid"),
    Column(
        "ns_ppid", "int32", "The parent's PID in the process's innermost PID namespace; 0: it has none there.",
        _PARENT, field="parent_vtgid",
    ),
    Column("pids", "list<int32>", "The PIDs in all PID namespaces, host first.", _EVERY_PROCESS),
    Column(
        "pidns", "int64", "Inode number of the innermost PID namespace. Of a gap: whose events were lost.", _SPACE
    ),
    Column(
        "pidns_gen", "int64", "Distinguishes PID namespaces with the same inode number; 0: the initial one.", _SPACE
    ),
    Column("level", "int32", "Nesting depth of the innermost PID namespace; 0: the initial one.", _EVERY_PROCESS,
           field="level"),
    Column("pidns_chain", "list<int64>", "The inode numbers of all PID namespaces, host first.", _EVERY_PROCESS),
    Column("pidns_gens", "list<int64>", "The generations of all PID namespaces, host first.", _EVERY_PROCESS,
           outputs=Output.RECORDING),
    Column("tid", "int32", "The thread's number on the host.", _EVERY_PROCESS, _FILES | Output.THREADS, field="tid"),
    Column("ns_tid", "int32", "The thread's number in the innermost PID namespace.", _EVERY_PROCESS,
           _FILES | Output.THREADS, field="vtid"),
    Column("proc_id", "string", "Identity of the process: `<pid>-<start_ns>`. No other process ever has it.",
           _EVERY_PROCESS, _ANSWERS),
    Column("parent_id", "string", "Identity of the parent; null also where it has no parent.", _PARENT_ID,
           _ANSWERS),
    Column("start_ns", "int64", "When the process began (CLOCK_BOOTTIME); of a gap or repair: since when.", _START,
           Output.RECORDING, unit="ns", field="start_ns"),
    Column("parent_start_ns", "int64", "When the parent began (CLOCK_BOOTTIME).", _PARENT, Output.RECORDING,
           unit="ns", field="parent_start_ns"),
    Column("comm", "string", "The name that the kernel shows for it: 15 bytes of its file name, or what it has set.",
           _COMM, stored="binary"),
    Column("uid", "int64", "Real user id, in the initial user namespace.", _UID, field="uid"),
    Column("cgroup_id", "int64", "The process's cgroup, by the inode number of its directory.", _CGROUP,
           field="cgroup_id"),
    Column("old_cgroup_id", "int64", "The cgroup from which it moved.", _OLD_CGROUP, Output.RECORDING, field="seq"),
    Column("cpu", "int32", "The CPU on which it happened.", _CPU, field="cpu", absent=NO_CPU),
    Column("ts_ns", "int64", "When it happened (CLOCK_BOOTTIME).", outputs=_ANSWERS, unit="ns", field="ts_ns"),
    Column("exe", "string", "The file that it runs, as the exec or /proc names it; of a failed exec the one it tried.",
           _EXE, stored="binary"),
    Column("args", "list<string>", "The arguments, the program's own name first.", _ARGS, stored="binary"),
    Column("args_bytes", "int64", "How long the arguments were.", _ARGS, Output.RECORDING, unit="bytes",
           field="args_total"),
    Column("args_truncated", "bool", "The arguments, or the file name, were longer than the limit.", _COMMAND,
           flag=Flag.ARGS_TRUNCATED),
    Column("old_tid", "int32", "The thread number on the host before the exec, where the exec changed it.", _OLD_TID,
           field="old_tid"),
    Column("state", "string", "The state letter that ps shows, such as S or Z.", _STATE),
    Column("fact", "string", "What the row says, as JSON.", _FACT, Output.RECORDING, stored="binary"),
    Column("action", "string", "What happened to the container, or with the session.", _FACT, _ANSWERS),
    Column(
        "session", "int32", "The session to which the process belongs, by its number. In JSON an object.", _SESSION,
        field="session",
    ),
    Column("left", "list<int32>", "Of a session that has ended: the PIDs on the host of who lives on.", _VISIT,
           Output.JSON),
    Column("said_by", "string", "Who says so: the kernel, or an engine alone.", _LIFE, _ANSWERS),
    Column("old_name", "string", "Of a renamed container: the name that it had before.", _LIFE, _ANSWERS),
    Column("health", "string", "What a health check has found.", _LIFE, _ANSWERS),
    Column("processes", "int32", "Of an end: how many processes died with the container's first one.", _LIFE, _ANSWERS),
    Column("signals", "list<string>", "Of an end: the signals that an engine says it had sent.", _LIFE, _ANSWERS),
    Column("victim", "string", "The name of the process that the OOM killer ended.", _LIFE, _ANSWERS),
    Column("victim_pid", "int32", "Its PID on the host.", _LIFE, _ANSWERS),
    Column("doubt", "string", "How an engine's word differs from the kernel's, or what is not known.", _LIFE, _ANSWERS),
    Column("errno", "int32", "Why the exec failed: the number of the error.", _FAILURE, field="status"),
    Column("error", "string", "Its name, such as ENOENT.", _FAILURE, _ANSWERS),
    Column("status", "int32", "How it ended, as wait(2) reports it.", _END, Output.RECORDING, field="status"),
    Column("exit_code", "int32", "The exit code; null where a signal ended it.", _HOW, _ANSWERS),
    Column("signal", "string", "The signal that ended it, such as SIGKILL.", _HOW, _ANSWERS),
    Column(
        "killed_by", "string",
        "Who sent the signal that ended it: `pid`, `pids`, `comm`, `container` and `proc_id` of a process; `kernel`:"
        " the kernel did, and these name the process for whose sake, if any. `reason`: why the kernel did, where that"
        " is certain: oom, pidns_ended, parent_ended, parent_thread_ended, fault, timer, terminal, seccomp, cpu_limit."
        " In JSON an object, in tables its text. Null also where it is not known.",
        _KILLED, stored="binary",
    ),
    Column("oom", "bool", "Whether the kernel ended it because memory ran out. Null: by SIGKILL, and not known whose.",
           _OOM, _ANSWERS),
    Column("core_dumped", "bool", "Whether it left a core dump.", _END, _ANSWERS),
    Column("duration_ns", "int64", "How long it lived.", _HOW, _ANSWERS, unit="ns"),
    Column("lost", "int64", "How many events were lost.", _LOSS, field="seq"),
    Column("since", "time", "When the gap, or reading the list for the repair, began.", _SINCE, _ANSWERS),
    Column("until", "time", "When the gap ended.", _LOSS, Output.JSON),
    Column("throttled", "bool", FLAGS[Flag.THROTTLED], _LOSS, flag=Flag.THROTTLED),
    Column("inferred", "bool", FLAGS[Flag.INFERRED], None, _FILES | Output.MARK, flag=Flag.INFERRED),
    Column("carried", "bool", FLAGS[Flag.CARRIED], None, _FILES | Output.MARK, flag=Flag.CARRIED),
    Column("ended", "bool", FLAGS[Flag.ENDED], None, Output.RECORDING, flag=Flag.ENDED),
    Column("ending", "bool", FLAGS[Flag.ENDING], None, Output.RECORDING, flag=Flag.ENDING),
    Column("moved", "bool", FLAGS[Flag.MOVED], None, Output.RECORDING, flag=Flag.MOVED),
)  # fmt: skip
"""All columns, in the order of exports and JSON. An exit has either `exit_code` or `signal`; the other is null."""

RULES = {column.name: column.rule for column in COLUMNS if column.rule}
"""The rule of each column. A column without a rule has a value in every row."""


def columns_in(output: Output) -> tuple[Column, ...]:
    """The columns of this output, or of any of these, in order."""
    return tuple(column for column in COLUMNS if column.outputs & output)


def members_of(kind: Kind, *, is_inferred: bool = False, threads: bool = True) -> tuple[Column, ...]:
    """The members of the JSON object of such a row, in order; null where the value is not known. Without marks."""
    wanted = columns_in(Output.JSON | Output.THREADS if threads else Output.JSON)
    return tuple(column for column in wanted if _is_of(column.rule, kind, is_inferred))


def _is_of(rule: Rule | None, kind: Kind, is_inferred: bool) -> bool:
    if rule is None or kind in rule.reported or (is_inferred and kind in rule.inferred):
        return True
    is_common = rule.reported.issuperset(SUMMARY_KINDS)  # in all rows about processes: null where not known
    return is_common and kind in PROCESS_KINDS
