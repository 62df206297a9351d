"""What a node may be asked without an engine's interface: its log folders, and the tools of its runtimes. Pure.

A question is one of a table, which both sides have: the process that asks names it by its place in there, and adds at
most two words, each of which has to look like an identifier. So whoever takes over that process can have nothing run
but this.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

MAX_WORDS = 2
_WORD = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")  # identifiers.Validate() of containerd: begins with no dash
_MAX_WORD = 76
_PACKET = struct.Struct("<BBH160s")  # place in the table, tag, how many bytes, words with a NUL between them

CONTAINERD = ("/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock")
CRI = (*CONTAINERD, "/run/crio/crio.sock", "/run/cri-dockerd.sock")
LOGS = ("/var/log/pods", "/var/log/containers")


class Tool(NamedTuple):
    """A program that names containers. argv: without its path; {0} and {1} are words of the question. needs: what has
    to be there for its answer to be of use: a socket, or a folder that is not empty. is_roots: it has to be run as
    root, without any capability, for its runtime answers root alone."""

    argv: tuple[str, ...]
    needs: str
    is_roots: bool = True

    @property
    def name(self) -> str:
        """As users call it."""
        return self.argv[0]


def _crictl(socket: str, *what: str) -> Tool:
    return Tool(("crictl", "--runtime-endpoint", f"unix://{socket}", "--timeout", "2s", *what, "-o", "json"), socket)


def _ctr(socket: str, *what: str) -> Tool:
    return Tool(("ctr", "--address", socket, "--connect-timeout", "2s", *what), socket)


TOOLS = (
    *(_crictl(socket, *what) for socket in CRI for what in (("ps", "-a"), ("pods",))),
    *(_ctr(socket, "namespaces", "ls", "-q") for socket in CONTAINERD),
    Tool(("machinectl", "list", "--no-legend", "--no-pager", "--full"), "/run/systemd/machines", is_roots=False),
    Tool(("lxc-ls", "-1"), "/var/lib/lxc"),
    Tool(("incus", "list", "--all-projects", "--format", "json"), "/var/lib/incus/unix.socket"),
    *(_ctr(socket, "--namespace", "{0}", "containers", "ls") for socket in CONTAINERD),
    *(_ctr(socket, "--namespace", "{0}", "containers", "info", "{1}") for socket in CONTAINERD),
)
"""Those that take words come last."""


class NodeRequest(NamedTuple):
    """place: of a tool in TOOLS, or of a folder in LOGS, by what is asked. words: of a tool."""

    place: int
    words: tuple[str, ...] = ()

    def packed(self, tag: int = 0) -> bytes:
        """The packet. tag: a byte that its answer repeats."""
        words = "\0".join(self.words).encode()
        return _PACKET.pack(self.place, tag, len(words), words)


def place_and_words(packet: bytes) -> tuple[int, tuple[str, ...]]:
    """The parts of a packet. Raises ValueError where it is none, or a word is no identifier."""
    if len(packet) != _PACKET.size:
        raise ValueError("a packet of another size")
    place, _tag, size, raw = _PACKET.unpack(packet)
    words = tuple(raw[:size].decode("ascii").split("\0")) if size else ()
    if len(words) > MAX_WORDS or not all(map(is_word, words)):
        raise ValueError("words that are none")
    return place, words


def is_word(text: str) -> bool:
    """Whether a text may be a word of a question: a name of containerd's."""
    return len(text) <= _MAX_WORD and _WORD.fullmatch(text) is not None


def takes(tool: Tool) -> int:
    """How many words a question to this tool has."""
    return sum(word in ("{0}", "{1}") for word in tool.argv)


def argv_of(tool: Tool, words: tuple[str, ...]) -> list[str]:
    """What to run. Raises ValueError where there are more words or fewer than it takes."""
    if len(words) != takes(tool):
        raise ValueError("other words than it takes")
    return [words[int(word[1])] if word in ("{0}", "{1}") else word for word in tool.argv]
