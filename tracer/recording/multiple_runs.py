"""Several runs of nstrace: played as one, or one of them chosen for a question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tracer.errors import ExitCode, NstraceError
from tracer.recording.source import RecordedSource
from tracer.stream.attribution import Attribution
from tracer.stream.batch import Batch
from tracer.stream.source import Source
from tracer.stream.table import Table
from tracer.typed.moments import outside, parse_moment, parse_range
from tracer.views.view import View

_MAX_NAMES = 8
_MAX_RUNS = 4
_CHOOSE = "give the files of one of them, or a TIME that only one of them covers"


class Runs:
    """Several sources, one after the other, as one. attribution: of the source that is read now."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.attribution = sources[0].attribution
        self.table: Table | None = None
        self._sources = sources

    @property
    def lost(self) -> int:
        """How many events all sources have lost."""
        return sum(source.lost for source in self._sources)

    def account(self) -> None:
        """As `RecordedSource.account`."""

    def batches(self, timeout_s: Callable[[], float | None]) -> Iterator[Batch]:
        """As `Source.batches`."""
        for source in self._sources:
            self.attribution = source.attribution
            yield from source.batches(timeout_s)
            if timeout_s() is None:
                return


class RunsView:
    """A view for each run, found by its attribution: each has a clock of its own."""

    def __init__(self, views: dict[Attribution, View]) -> None:
        self.header = next(iter(views.values())).header
        self._views = views
        self._last = next(iter(views.values()))

    def render(self, batch: Batch, containers: Attribution) -> bytes:
        """As `View.render`."""
        before, self._last = self._last, self._views[containers]
        text = self._last.render(batch, containers)
        return text if before is self._last else before.rest() + text

    def rest(self) -> bytes:
        """As `View.rest`."""
        return self._last.rest()


def run_of(
    sources: Sequence[RecordedSource], at: str | None = None, during: str | None = None, hint: str = _CHOOSE
) -> RecordedSource:
    """The one run that a question is about: the only one, or the only one that has the time, as it was typed. hint: how
    to choose one. Raises NstraceError (usage) where that is none or several."""
    meant = list(sources)
    if len(meant) > 1 and (at or during):
        spans = [source.span() for source in meant]
        if at:
            has_time = [span.begin_ns <= parse_moment(at, span) <= span.end_ns for span in spans]
        else:
            has_time = [window is not None for window in parse_range(during or "", spans)]
        if not any(has_time):
            raise outside(repr(at), spans)
        meant = [source for source, does in zip(meant, has_time, strict=True) if does]
    if len(meant) > 1:
        runs = ", ".join(map(str, meant[:_MAX_RUNS])) + (", ..." if len(meant) > _MAX_RUNS else "")
        raise NstraceError(f"these are {len(meant)} recordings: {runs}", hint, ExitCode.USAGE)
    return meant[0]


def check_found(sources: Sequence[RecordedSource]) -> None:
    """Raises NstraceError where the targets mean no process in any of these sources, which have been read."""
    targets = sources[0].targets
    if not targets or any(source.means_anybody() for source in sources):
        return
    names = sorted({name for source in sources for name in source.container_names()})
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    where = sources[0].name if len(sources) == 1 else f"these {len(sources)} recordings"
    raise NstraceError(
        f"no process in {where} matches {', '.join(target.text for target in targets)}",
        f"containers in it: {', '.join(map(repr, names[:_MAX_NAMES]))}{more}" if names else "no container was recorded",
        ExitCode.NO_TARGET,
    )
