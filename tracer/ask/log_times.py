"""A column of times -> the moments that each can mean, as `tracer.text.stamps` reads them, many at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.recording.columns import values_of
from tracer.text.stamps import moments_of
from tracer.text.zone import is_utc

_SECOND_NS = 1_000_000_000
_NS = {"s": _SECOND_NS, "ms": 1_000_000, "us": 1000, "ns": 1}
_UNITS_NS = (_SECOND_NS, 1_000_000, 1000)
_QUARTER_NS = 900 * _SECOND_NS  # no zone changes its offset within one
_ISO = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$"
_CLOCK_CHARS = len("2026-11-24T08:15:19")
_EPOCH_NS = {9: _SECOND_NS, 10: _SECOND_NS, 13: 1_000_000, 16: 1000, 19: 1}  # by the digits
_MOST_NS = 1 << 62  # a time that is further from 1970 is none that anything was recorded at


class Moments(NamedTuple):
    """Of lines that have a time, in order: the line (a line of which the time has two meanings is there twice), and
    from when to when it can be, by the wall clock in ns, the last one included; each of shape (m,)."""

    line: NDArray[np.int64]
    begin_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]


def moments_in(times: pa.Array, years: range) -> Moments:
    """The moments in a column of a log. years: as for `stamps_of`.

    Text shows how exact it is, numbers do not: where all of a column are whole seconds, each means its second, and so
    with milliseconds and microseconds.
    """
    if pa.types.is_dictionary(times.type):
        times = times.dictionary_decode()
    if pa.types.is_timestamp(times.type):
        return _as_exact_as_all(_of_timestamps(times, np.arange(len(times)), _NS[times.type.unit]))
    if pa.types.is_integer(times.type):
        return _as_exact_as_all(_of_numbers(times))
    if pa.types.is_floating(times.type):
        return _as_exact_as_all(_of_floats(times))
    texts = times if pa.types.is_string(times.type) else times.cast(pa.string())
    texts = pc.utf8_trim_whitespace(texts)
    is_iso = _mask(pc.match_substring_regex(texts, _ISO))
    is_number = _mask(pc.match_substring_regex(texts, r"^(\d{9,10}|\d{13}|\d{16}|\d{19})$"))
    parts = [_of_iso(texts, np.flatnonzero(is_iso), years)]
    lines = np.flatnonzero(is_number)
    found = _of_numbers(texts.take(pa.array(lines)).cast(pa.uint64()))
    parts += [found._replace(line=lines[found.line])]
    parts += [_one_by_one(texts, np.flatnonzero(~is_iso & ~is_number & _mask(pc.is_valid(texts))), years)]
    return _in_order(parts)


def _as_exact_as_all(found: Moments) -> Moments:
    for unit_ns in _UNITS_NS:
        if not (found.begin_ns % unit_ns).any():
            return found._replace(end_ns=np.maximum(found.end_ns, found.begin_ns + unit_ns - 1))
    return found


def _mask(array: pa.Array) -> NDArray[np.bool_]:
    mask: NDArray[np.bool_] = values_of(pc.fill_null(array, False).cast(pa.int8())) != 0
    return mask


def _in_order(parts: list[Moments]) -> Moments:
    line, begin_ns, end_ns = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(line, kind="stable")
    return Moments(line[order], begin_ns[order], end_ns[order])


def _of_timestamps(times: pa.Array, lines: NDArray[np.int64], length_ns: NDArray[np.int64] | int) -> Moments:
    """Times of Arrow, at these lines; without a zone they are of the one in which those that are typed are."""
    is_valid = _mask(pc.is_valid(times))
    unit = _NS[times.type.unit]
    ticks = values_of(times).astype(np.int64)
    is_valid &= (-_MOST_NS // unit < ticks) & (ticks < _MOST_NS // unit)
    begin_ns = ticks[is_valid] * unit
    lengths = np.broadcast_to(np.asarray(length_ns, np.int64), len(times))[is_valid]
    found = Moments(lines[is_valid], begin_ns, begin_ns + lengths - 1)
    return found if times.type.tz or is_utc() else _local(found)


def _local(naive: Moments) -> Moments:
    """The moments of a clock of this zone; two where it was put back and showed the hour twice."""
    quarters, of_row = np.unique(naive.begin_ns // _QUARTER_NS, return_inverse=True)
    parts = []
    meant = [_offsets(int(quarter) * _QUARTER_NS) for quarter in quarters.tolist()]
    for nth in range(2):
        has = np.array([len(offsets) > nth for offsets in meant], bool)[of_row]
        offset = np.array([offsets[nth] if len(offsets) > nth else 0 for offsets in meant], np.int64)[of_row]
        parts.append(Moments(naive.line[has], naive.begin_ns[has] + offset[has], naive.end_ns[has] + offset[has]))
    return _in_order(parts)


def _offsets(clock_ns: int) -> list[int]:
    """What has to be added to such a time of the clock, to make it a moment."""
    shown = np.datetime64(clock_ns // _SECOND_NS, "s")
    return [stamp.begin_ns - clock_ns for stamp in moments_of(str(shown), range(0))]


def _of_iso(texts: pa.Array, lines: NDArray[np.int64], years: range) -> Moments:
    chosen = texts.take(pa.array(lines))
    try:
        times = chosen.cast(pa.timestamp("ns", "UTC"))
    except pa.ArrowInvalid:  # the 30th of February, among others that are right
        return _one_by_one(texts, lines, years)
    zone_chars = np.where(_mask(pc.ends_with(chosen, "Z")), 1, 6)
    chars = values_of(pc.utf8_length(chosen)).astype(np.int64)
    digits = np.maximum(chars - zone_chars - _CLOCK_CHARS - 1, 0)
    return _of_timestamps(times, lines, 10 ** (9 - digits))


def _of_numbers(numbers: pa.Array) -> Moments:
    """Since 1970, in the unit that the digits show."""
    is_valid = _mask(pc.is_valid(numbers))
    values = values_of(numbers).astype(np.int64)
    is_valid &= values > 0
    lines = np.arange(len(numbers))
    parts = []
    for digits, unit in _EPOCH_NS.items():
        most = min(10**digits - 1, _MOST_NS)
        chosen = np.flatnonzero(is_valid & (values >= 10 ** (digits - 1)) & (values <= most))
        begin_ns = values[chosen] * unit
        parts.append(Moments(lines[chosen], begin_ns, begin_ns + unit - 1))
    return _in_order(parts)


def _of_floats(numbers: pa.Array) -> Moments:
    """As `_of_numbers`, with a fraction: of seconds since 1970 it has microseconds."""
    values = np.asarray(pc.fill_null(numbers.cast(pa.float64()), 0))
    whole = np.floor(np.where(np.isfinite(values) & (values < _MOST_NS), values, 0))
    found = _of_numbers(pa.array(whole.astype(np.int64)))
    unit_ns = found.end_ns - found.begin_ns + 1
    rest_us = np.rint((values - whole)[found.line] * unit_ns / 1000).astype(np.int64)
    begin_ns = found.begin_ns + rest_us * 1000
    return Moments(found.line, begin_ns, begin_ns + np.minimum(unit_ns, 1000) - 1)


def _one_by_one(texts: pa.Array, lines: NDArray[np.int64], years: range) -> Moments:
    found: list[tuple[int, int, int]] = []
    for line, text in zip(lines.tolist(), texts.take(pa.array(lines)).to_pylist(), strict=True):
        moments = [(stamp.begin_ns, stamp.end_ns) for stamp in moments_of(text, years)]
        found += [(line, *one) for one in moments if one[0] > -_MOST_NS and one[1] < _MOST_NS]
    line, begin_ns, end_ns = np.array(found, np.int64).reshape(-1, 3).T
    return Moments(line, begin_ns, end_ns)
