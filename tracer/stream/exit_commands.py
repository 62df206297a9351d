"""What each process ran that has ended, added to its EXIT row. Pure.

The kernel cannot tell it then: at the exit event the memory that held the arguments is gone (exit_mm(), kernel/exit.c).
So it is what an earlier row said; a process that has done no exec runs what its parent ran at the fork. exec_id counts
the execs of a process and of those that it descends from (begin_new_exec(), fs/exec.c): what was said under another
exec_id is another program's, so after a loss nothing is added rather than something wrong.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.stream.batch import Batch, join_rows, of_kind
from tracer.stream.commands import Command, Heard
from tracer.stream.distinct import distinct
from tracer.stream.schema import LIFE_KINDS, Flag, Kind
from tracer.stream.table import Table

PIECE_BYTES = 4 << 20
_INFERRED, _TRUNCATED = np.uint8(Flag.INFERRED), np.uint8(Flag.ARGS_TRUNCATED)
_LIVES = tuple(map(int, LIFE_KINDS))
_FORK, _EXEC, _EXIT, _SNAPSHOT = map(int, (Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.SNAPSHOT))
_NEVER_NS, _NOTHING = np.iinfo(np.uint64).max, -1
_FORM = np.dtype([("exe_len", "u4"), ("args_len", "u4"), ("args_total", "u4"), ("flags", "u1")])
"""What an EXIT row gets beside the text, as EVENT has it."""
_Keys = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
"""tgid, start time and exec_id: a process while it runs one program. Each of shape (n,)."""


class ExitCommands:
    """Which command belongs to each exit of a batch. Made before the table receives the batch; `remember` comes after
    it. only_failed: exits with the status 0 are left as they are."""

    def __init__(self, batch: Batch, table: Table, only_failed: bool = False) -> None:
        rows = batch.rows
        self._batch, self._only_failed = batch, only_failed
        self._is_reported = rows["flags"] & _INFERRED == 0
        self._is_life = of_kind(rows, *_LIVES)
        self._exits, self._stays, said = self._by_process()
        self._asked = np.concatenate([self._exits, self._stays])
        self._which = np.full(len(self._asked), _NOTHING)  # of the commands below
        self._texts: list[bytes] = []
        self._forms: list[NDArray[np.void]] = []
        self._since: list[NDArray[np.uint64]] = []
        if len(self._asked):
            self._search(table, said)

    def _by_process(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """The exits that were reported; of each process that goes on the last row that describes it; and for both the
        last row that has the process's command, _NOTHING where there is none, or it is another program's."""
        rows, is_exit = self._batch.rows, self._batch.rows["kind"] == _EXIT
        about = np.flatnonzero(self._is_life | is_exit)
        first, process = distinct(rows["tgid"][about], rows["start_ns"][about])
        last, command = np.full((2, len(first)), _NOTHING)
        last[process] = about  # of equal places the last assignment counts
        ends = is_exit[about]
        last[process[ends]] = _NOTHING
        says = self._says()[about]
        command[process[says]] = about[says]
        reported = ends & self._is_reported[about]
        if self._only_failed:
            reported &= rows["status"][about] != 0
        stays = np.flatnonzero(last != _NOTHING)
        said = np.concatenate([command[process[reported]], command[stays]])
        exits = about[reported]
        is_same = rows["exec_id"][said] == rows["exec_id"][np.concatenate([exits, last[stays]])]
        return exits, last[stays], np.where(is_same, said, _NOTHING)

    def _says(self) -> NDArray[np.bool_]:
        """Which rows have the command that their process runs from then on, shape (n,)."""
        rows = self._batch.rows
        says: NDArray[np.bool_] = self._is_life & (rows["exe_len"] + rows["args_len"] > 0)
        return says

    def _search(self, table: Table, said: NDArray[np.intp]) -> None:
        """Look for what is said of each process, in the batch and then in the table; where it has done nothing since
        its fork in this batch, the same of its parent, as of the fork. said: the rows that have it."""
        rows = self._batch.rows
        places, whose = np.arange(len(self._asked)), _keys(rows, self._asked)
        until_ns = np.full(len(places), _NEVER_NS, np.uint64)
        while True:
            is_open = said == _NOTHING
            self._take(places[~is_open], said[~is_open])
            if not is_open.any():
                return
            places, whose, until_ns = places[is_open], _only(whose, is_open), until_ns[is_open]
            born = _match(rows, self._forks(), whose)
            is_older = born == _NOTHING
            self._ask(table, places[is_older], _only(whose, is_older), until_ns[is_older])
            places, born = places[~is_older], born[~is_older]
            whose, until_ns = _keys(rows, born, "parent_tgid", "parent_start_ns"), rows["ts_ns"][born]
            # what a list says of a parent may have begun after the fork
            execs = self._says() & (rows["kind"] == _EXEC) & self._is_reported
            said = _match(rows, np.flatnonzero(execs), whose)

    def _forks(self) -> NDArray[np.intp]:
        """The rows of processes that their parents have forked: with CLONE_PARENT another process has."""
        rows = self._batch.rows
        is_by_parent = rows["old_tid"] == rows["parent_tgid"]
        return np.flatnonzero((rows["kind"] == _FORK) & is_by_parent & self._is_reported)

    def _take(self, places: NDArray[np.intp], said: NDArray[np.intp]) -> None:
        """Of these processes the command is in rows of the batch."""
        if not len(places):
            return
        rows = self._batch.rows
        different, of_place = said, np.arange(len(said))
        if self._batch.lengths[said].sum() > PIECE_BYTES:  # children share the text of their parent
            different, of_place = np.unique(said, return_inverse=True)
        forms = np.empty(len(different), _FORM)
        for name in _FORM.names or ():
            forms[name] = rows[name][different]
        is_listed = (rows["kind"][different] == _SNAPSHOT) | ~self._is_reported[different]
        self._which[places] = len(self._texts) + of_place
        texts = [raw for raw, _exe_len in self._batch.commands(different)]
        self._add(texts, forms, rows["seq"][different] * is_listed)

    def _ask(self, table: Table, places: NDArray[np.intp], whose: _Keys, until_ns: NDArray[np.uint64]) -> None:
        """Of these processes the table may know it; until_ns: when they began to run it at the latest."""
        first, of_place = distinct(*whose)
        heard = [table.command_of(*key) for key in zip(*(column[first].tolist() for column in whose), strict=True)]
        known = [each for each in heard if each]
        if not known:
            return
        number = np.array([_NOTHING if each is None else 0 for each in heard])
        number[number == 0] = np.arange(len(known)) + len(self._texts)
        since_ns = np.array([each.since_ns if each else 0 for each in heard], np.uint64)
        self._which[places] = np.where(since_ns[of_place] <= until_ns, number[of_place], _NOTHING)
        commands = [each.command for each in known]
        forms = [(c.exe_len, len(c.raw) - c.exe_len, c.args_total, _TRUNCATED * c.is_cut) for c in commands]
        self._add([command.raw for command in commands], np.array(forms, _FORM), since_ns[number != _NOTHING])

    def _add(self, texts: list[bytes], forms: NDArray[np.void], since_ns: NDArray[np.uint64]) -> None:
        self._texts += texts
        self._forms.append(forms)
        self._since.append(since_ns)

    def remember(self, table: Table) -> None:
        """Let the table, which has received the batch, keep what the processes run that live on."""
        rows, stays = self._batch.rows, self._stays
        tgids, starts, exec_ids = (column.tolist() for column in _keys(rows, stays))
        numbers = self._which[len(self._exits) :].tolist()
        for tgid, start_ns, exec_id, number in zip(tgids, starts, exec_ids, numbers, strict=True):
            table.runs(tgid, start_ns, exec_id, None if number == _NOTHING else self._heard(number))

    def _heard(self, number: int) -> Heard:
        form = np.concatenate(self._forms)[number]
        is_cut = bool(form["flags"] & _TRUNCATED)
        command = Command(self._texts[number], int(form["exe_len"]), int(form["args_total"]), is_cut)
        return Heard(command, int(np.concatenate(self._since)[number]))

    def pieces(self) -> Iterator[Batch]:
        """The batch with the commands, in pieces with little text each: many processes can share one long command."""
        batch, which = self._batch, self._which[: len(self._exits)]
        has = which != _NOTHING
        if not has.any():
            yield batch
            return
        at, which = self._exits[has], which[has]
        forms = np.concatenate(self._forms)[which]
        texts = [self._texts[number] for number in which.tolist()]
        added = forms["exe_len"].astype(np.int64) + forms["args_len"]
        if added.sum() + len(batch.heap) <= PIECE_BYTES:
            yield _filled(batch, at, forms, texts)
            return
        sizes = batch.lengths.copy()
        sizes[at] += added
        cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // PIECE_BYTES)) + 1
        for start, stop in itertools.pairwise([0, *cuts.tolist(), len(batch)]):
            of_piece = slice(*np.searchsorted(at, [start, stop]).tolist())
            yield _filled(batch.part(start, stop), at[of_piece] - start, forms[of_piece], texts[of_piece])


def _filled(batch: Batch, at: NDArray[np.intp], forms: NDArray[np.void], texts: list[bytes]) -> Batch:
    """The batch, a copy, with these texts at the ends of the rows at these places."""
    rows, heap, done = join_rows([batch.rows]), [], 0
    for name in ("exe_len", "args_len", "args_total"):
        rows[name][at] = forms[name]
    rows["flags"][at] |= forms["flags"] & _TRUNCATED
    for end, text in zip((batch.starts[at] + batch.lengths[at]).tolist(), texts, strict=True):
        heap += [batch.heap[done:end], text]
        done = end
    return Batch(rows, b"".join([*heap, batch.heap[done:]]))


def _keys(rows: NDArray[np.void], at: NDArray[np.intp], tgid: str = "tgid", start_ns: str = "start_ns") -> _Keys:
    return rows[tgid][at], rows[start_ns][at], rows["exec_id"][at]


def _only(keys: _Keys, mask: NDArray[np.bool_]) -> _Keys:
    tgid, start_ns, exec_id = keys
    return tgid[mask], start_ns[mask], exec_id[mask]


def _match(rows: NDArray[np.void], at: NDArray[np.intp], whose: _Keys) -> NDArray[np.intp]:
    """For each of these keys the last of the rows at these places that has it; _NOTHING: none has."""
    if not len(at):
        return np.full(len(whose[0]), _NOTHING)
    first, of_both = distinct(*(np.concatenate(both) for both in zip(_keys(rows, at), whose, strict=True)))
    last = np.full(len(first), _NOTHING)
    last[of_both[: len(at)]] = at  # of equal places the last assignment counts
    found: NDArray[np.intp] = last[of_both[len(at) :]]
    return found
