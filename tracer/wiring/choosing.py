"""What the targets mean of all that comes: rows get their containers, and leave when it is known whose they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from tracer.kernel.trace import Trace
from tracer.stream.batch import Batch
from tracer.stream.cgroup_moves import CgroupMoves
from tracer.stream.ended_spaces import EndedSpaces
from tracer.stream.killers import with_names
from tracer.stream.lives import Lives
from tracer.stream.removed_cgroups import RemovedCgroups
from tracer.stream.schema import INTERNAL_FLAGS
from tracer.stream.selection import Selection
from tracer.stream.table import Table
from tracer.stream.undecided import Undecided
from tracer.wiring.listed_commands import ListedCommands

_KEEP_ENDED = 1024  # namespaces, and cgroups: what is said of them in the end needs their containers
_SEEN_BY_READER = np.uint8(~INTERNAL_FLAGS & 0xFF)


class Choosing:
    """Every batch goes through it, once. held: the rows that wait for an engine's word. ended: namespaces that are
    over, whoever they are of. removed: cgroups that are."""

    def __init__(
        self,
        trace: Trace,
        selection: Selection,
        table: Table,
        lives: Lives,
        commands: ListedCommands,
        on_late: Callable[[Batch], None],
    ) -> None:
        """trace: its programs are told what is decided. on_late: called with what was held, when it is shown."""
        self.held, self.ended = Undecided(selection, on_late), EndedSpaces(_KEEP_ENDED)
        self.removed = RemovedCgroups(_KEEP_ENDED)
        self._trace, self._selection = trace, selection
        self._attribution, self._lives, self._commands = selection.attribution, lives, commands
        self._moves = CgroupMoves(partial(_cgroup_before, table))

    def take(self, batch: Batch) -> Iterator[Batch]:
        """The rows that the targets mean, in parts as containers become known; one empty part where nothing came."""
        if not len(batch):
            yield batch
        self.ended.take(batch)
        for part in self._attribution.split_and_learn(batch):
            part = with_names(part, self._attribution)
            mask = self._moves.apply(part, self._selection.mask(part))
            self._trace.maps.decide(self._selection.take_fresh())
            part.rows["flags"] &= _SEEN_BY_READER
            waiting = self._selection.waiting(part) & ~mask
            for decided in self.held.take(part, mask, waiting, self._commands.whole):
                yield from map(self._lives.take, self._commands.pieces(decided))


def _cgroup_before(table: Table, part: Batch, at: int) -> int:
    return table.cgroup_of(int(part.rows["tgid"][at]), int(part.rows["start_ns"][at]))
