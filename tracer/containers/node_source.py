"""What is asked of a node where no engine says the name of a container, by the process that asks: it reads what log
folders and tools answer, and can do nothing else. A tool that fails or is slow says nothing, and nothing is an error.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import msgspec

from tracer.containers import node_answers
from tracer.containers.messages import MAX_CONTAINERS, MAX_LABELS, Found
from tracer.containers.node_questions import LOGS, TOOLS, NodeRequest, is_word, takes

MAX_OUTPUT_BYTES = 16 << 20
"""Of one tool, or folder; more is cut off, and is no answer."""
_PATIENCE_S = 2.1  # a moment more than a tool may run
_AT_ONCE = 6
_MAX_INFO = 24  # containers that ctr is asked about, each by itself
_DOCKERS = "moby"  # a namespace of containerd's: Docker has names for what is in there
_PIECE_BYTES = 1 << 16

Ask = Callable[[NodeRequest, float], int]
"""What to ask, and until when -> the descriptor of the answer. Raises OSError."""
_PARSERS = {
    "crictl": node_answers.of_crictl,
    "machinectl": node_answers.of_machinectl,
    "lxc-ls": node_answers.of_lxc_ls,
    "incus": node_answers.of_incus,
}


class NodeLogs:
    """The kubelet's folders of logs: places in LOGS."""

    def __init__(self, ask: Ask, places: Sequence[int]) -> None:
        self._ask, self._places = ask, places

    def listed(self, number: int, _ids: Collection[str] | None, until_s: float) -> list[Found]:
        """All that they name. number: of the question."""
        found: list[Found] = []
        for place in self._places:
            parse = node_answers.logs_in if LOGS[place].endswith("containers") else node_answers.pods_in
            (output,) = _outputs(self._ask, [NodeRequest(place)], until_s)
            found += _parsed(parse, output)
        return _kept(found, number)


class NodeTools:
    """The tools of runtimes: places in TOOLS."""

    def __init__(self, ask: Ask, places: Sequence[int]) -> None:
        self._ask = ask
        self._plain = [place for place in places if takes(TOOLS[place]) == 0]
        self._ctr = [place for place in places if TOOLS[place].name == "ctr" and takes(TOOLS[place])]

    def listed(self, number: int, ids: Collection[str] | None, until_s: float) -> list[Found]:
        """Those of these containers that tools know; ids: None: all, as far as there is time. number: of the
        question."""
        until_s = min(until_s, time.monotonic() + _PATIENCE_S)
        found: dict[str, Found] = {}
        namespaces: list[tuple[str, str]] = []  # the socket, and a namespace there
        outputs = _outputs(self._ask, [NodeRequest(place) for place in self._plain], until_s)
        for place, output in zip(self._plain, outputs, strict=True):
            tool = TOOLS[place]
            if tool.name == "ctr":
                namespaces += [(tool.needs, word) for word in node_answers.words_in(output) if is_word(word)]
            else:
                found |= {one.id: one for one in _parsed(_PARSERS[tool.name], output)}
        for one in self._of_ctr([pair for pair in namespaces if pair[1] != _DOCKERS], ids, found, until_s):
            found.setdefault(one.id, one)
        return _kept([one for one in found.values() if ids is None or one.id in ids], number)

    def _of_ctr(
        self, namespaces: Iterable[tuple[str, str]], ids: Collection[str] | None, known: Collection[str], until_s: float
    ) -> Iterator[Found]:
        """What ctr knows of containers that nothing else does. namespaces: with the socket of each."""
        lists = [
            NodeRequest(place, (namespace,))
            for socket, namespace in namespaces
            for place in self._ctr
            if TOOLS[place].needs == socket and takes(TOOLS[place]) == 1
        ]
        infos = []
        for request, output in zip(lists, _outputs(self._ask, lists, until_s), strict=True):
            (namespace,) = request.words
            yield from _parsed(lambda text, where=namespace: node_answers.of_ctr_list(text, where), output)  # type: ignore[misc]
            socket = TOOLS[request.place].needs
            (place,) = [one for one in self._ctr if TOOLS[one].needs == socket and takes(TOOLS[one]) > 1]
            infos += [
                NodeRequest(place, (*request.words, name))
                for name in filter(node_answers.is_id, node_answers.words_in(output))
                if name not in known and (ids is None or name in ids)
            ]
        for output in _outputs(self._ask, infos[:_MAX_INFO], until_s):
            yield from _parsed(node_answers.of_ctr_info, output)


def _kept(found: Iterable[Found], number: int) -> list[Found]:
    """As much as one answer may have."""
    kept: list[Found] = []
    labels = 0
    for one in found:
        labels += len(one.labels)
        if len(kept) == MAX_CONTAINERS or labels > MAX_LABELS:
            break
        kept.append(msgspec.structs.replace(one, number=number))
    return kept


def _parsed(parse: Callable[[bytes], Iterator[Found]], output: bytes) -> list[Found]:
    """What an output says up to where it makes no sense."""
    found: list[Found] = []
    with contextlib.suppress(msgspec.MsgspecError, ValueError, RecursionError):
        for one in parse(output):
            found.append(one)  # what came before a line that cannot be read is kept
            if len(found) == MAX_CONTAINERS:
                break
    return found


def _outputs(ask: Ask, requests: Sequence[NodeRequest], until_s: float) -> list[bytes]:
    """What each says, in the order of the requests, some at a time; b"": nothing, or not in time."""
    found: list[bytes] = []
    for at in range(0, len(requests), _AT_ONCE):
        found += _at_once(ask, requests[at : at + _AT_ONCE], until_s)
    return found


def _at_once(ask: Ask, requests: Sequence[NodeRequest], until_s: float) -> list[bytes]:
    outputs, open_fds = [bytearray() for _ in requests], dict[int, bytearray]()
    poll = select.poll()
    for request, output in zip(requests, outputs, strict=True):
        with contextlib.suppress(OSError):
            fd = ask(request, until_s)
            open_fds[fd] = output
            poll.register(fd, select.POLLIN)
    try:
        while open_fds and (left_s := until_s - time.monotonic()) > 0:
            for fd, _events in poll.poll(int(left_s * 1000) + 1):
                piece = os.read(fd, _PIECE_BYTES)
                open_fds[fd] += piece
                if len(open_fds[fd]) > MAX_OUTPUT_BYTES:
                    open_fds[fd].clear()
                    piece = b""
                if not piece:
                    poll.unregister(fd)
                    del open_fds[fd]
                    os.close(fd)
    finally:
        for fd, output in open_fds.items():
            output.clear()
            os.close(fd)
    return [bytes(output) for output in outputs]
