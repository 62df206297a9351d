"""The last bytes of a file: what its end says of the whole, without reading what is before."""

from __future__ import annotations

from tracer.recording import frames
from tracer.recording.frames import Damaged, Header
from tracer.recording.index import Index, Whole
from tracer.recording.inputs import FileInput
from tracer.recording.metadata import Metadata
from tracer.recording.scan import places

_TAIL_BYTES = 1 << 14


def whole_of(data: FileInput, facts: Metadata) -> Whole | None:
    """What the end of this file says, if its checksums are right, it belongs to this recording, and nothing is behind
    it; None: there is no such end."""
    last = data.again()
    last.at = max(last.at, last.size - _TAIL_BYTES)
    tail = last.read(_TAIL_BYTES)
    if not tail.endswith(frames.END):
        return None
    for at in reversed(list(places(tail[: -len(frames.END)]))):
        try:
            begin = at + frames.PREFIX.size
            message = frames.parse(tail[begin : begin + frames.header_bytes(tail[at:begin])])
            frames.verify_header(message)
            body = tail[begin + len(message.header) : -len(frames.END)]
            said, index = message.metadata, Index.parse(message.metadata)
            is_ours = said.get("session") == facts.session and said.get("part") == str(facts.part)
            if message.kind != Header.BATCH or not index.end or not is_ours or len(body) != message.body_bytes:
                return None
            return Whole.parse(said)
        except Damaged:
            continue
    return None
