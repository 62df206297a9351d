"""Batch -> the same batch with the secrets in its command lines masked. Pure.

File names are looked at as any text is; the 15 bytes of a command's name, and what the engine says of containers, are
left as they are.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tracer.secrets.arguments import masked
from tracer.secrets.spans import covered, merged
from tracer.secrets.values import load, spans
from tracer.stream.batch import Batch, pad_args, split_args
from tracer.stream.known import Known
from tracer.stream.schema import Flag

_BYTES = "latin-1"  # each byte a character, so that any bytes come back as they were
_SHORT_BYTES = 512
_Command = tuple[bytes, bytes, int]


class Redactor:
    """Masks what it is called with. count: how many secrets it has masked."""

    def __init__(self) -> None:
        load()
        self.count = 0

    def __call__(self, batch: Batch) -> Batch:
        """The batch with all secrets masked; the lengths of its arguments are those of what is shown."""
        rows = batch.rows
        at = np.flatnonzero(Known(rows)("args_truncated") & (rows["exe_len"] + rows["args_len"] > 0))
        if not len(at):
            return batch
        cut = (rows["flags"][at] & Flag.ARGS_TRUNCATED != 0).tolist()
        commands = zip(batch.commands(at), cut, strict=True)
        changed = [
            _short_masked(raw, exe_len, is_cut) if len(raw) <= _SHORT_BYTES else _masked(raw, exe_len, is_cut)
            for (raw, exe_len), is_cut in commands
        ]
        return self._replaced(batch, at[[one is not None for one in changed]], [one for one in changed if one])

    def _replaced(self, batch: Batch, at: NDArray[np.intp], commands: list[_Command]) -> Batch:
        if not commands:
            return batch
        rows, heap, copied = batch.rows.copy(), [], 0
        begins = (batch.starts[at] + rows["deep_len"][at]).tolist()
        ends = (batch.starts[at] + batch.lengths[at]).tolist()
        for begin, end, (exe, args, count) in zip(begins, ends, commands, strict=True):
            heap += [batch.heap[copied:begin], exe, args]
            copied = end
            self.count += count
        lengths = np.array([(len(exe), len(args)) for exe, args, _count in commands], np.uint32)
        rows["args_total"][at] += lengths[:, 1] - rows["args_len"][at]  # of what was cut, nothing is known
        rows["exe_len"][at], rows["args_len"][at] = lengths[:, 0], lengths[:, 1]
        return Batch(rows, b"".join(heap) + batch.heap[copied:])


def _masked(raw: bytes, exe_len: int, is_cut: bool) -> _Command | None:
    """File name, arguments and how many secrets were in them; None: none were."""
    exe, args = raw[:exe_len], raw[exe_len:]
    shown_exe, of_exe = _masked_text(exe)
    shown_args, of_args = masked_args(args, is_cut)
    return (shown_exe, shown_args, of_exe + of_args) if of_exe + of_args else None


_short_masked = lru_cache(4096)(_masked)  # mostly the same few


def masked_args(args: bytes, is_cut: bool) -> tuple[bytes, int]:
    """NUL-ended arguments with their secrets masked, and how many those are. is_cut: the last one may go on."""
    words, count = masked([arg.decode(_BYTES) for arg in split_args(args)], is_cut)
    if not count:
        return args, 0
    shown = pad_args(word.encode(_BYTES) for word in words)
    return shown if args.endswith(b"\0") else shown[:-1], count


def _masked_text(raw: bytes) -> tuple[bytes, int]:
    text = raw.decode(_BYTES)
    found = merged(spans(text))
    return (covered(text, found).encode(_BYTES), len(found)) if found else (raw, 0)
