"""What nstrace fleet ps, translate, why and summary ask: each host of an archive, as its own recordings are asked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tracer.errors import ExitCode, NstraceError
from tracer.text.escape import safe_text
from tracer.text.width import pad, width
from tracer.wiring.fleet_hosts import LAZY, errors_of

if TYPE_CHECKING:
    from tracer.answers.translation import Translation
    from tracer.fleet.archive_store import Store
    from tracer.fleet.archived_host import About, ArchivedHost, Run
    from tracer.recording.source import RecordedSource
    from tracer.wiring.process_lists import Gathered

T = TypeVar("T")
Say = Callable[[str], None]
Ask = Callable[["ArchivedHost", tuple[str, ...], Say], Callable[[], T]]
"""Takes a host, what is asked of it (what stood behind HOST:), and what writes a line for people about it; returns what
answers, when privileges are gone: until then no message is looked into."""
_USED = (
    *LAZY,
    *("tokenize", "tracer.fleet.archived_host", "tracer.fleet.names"),
    *("tracer.past.translation", "tracer.past.why", "tracer.recording.census", "tracer.recording.multiple_runs"),
    *("tracer.recording.once", "tracer.recording.past", "tracer.recording.questions", "tracer.recording.row_filter"),
    *("tracer.stream.lives", "tracer.stream.table", "tracer.stream.tally", "tracer.text.hints"),
    *("tracer.typed.descriptions", "tracer.wiring.process_lists", "tracer.wiring.printing"),
    *("tracer.views.objects", "tracer.views.summary", "tracer.views.table", "tracer.views.translation"),
    *("tracer.views.why", "tracer.wiring.recorded_translation", "tracer.wiring.recorded_why"),
)
_TRIED = (ExitCode.NO_TARGET, ExitCode.FAILURE, ExitCode.USAGE)  # with these a host has no answer, and others may


class Asked(NamedTuple):
    """A host that was asked. label: what it is called for people."""

    cluster: str
    host: str
    label: str


class Answers(NamedTuple):
    """What hosts have answered, in order; failure: what is to be raised when that was printed."""

    of_hosts: list[tuple[Asked, Any]]
    failure: NstraceError | None

    def lines(self) -> str:
        """Answers that are text, each line with its host."""
        fits = max((width(safe_text(asked.label)) for asked, _text in self.of_hosts), default=0)
        return "".join(
            f"{pad(safe_text(asked.label), fits)} {line}".rstrip() + "\n"
            for asked, text in self.of_hosts
            for line in text.splitlines()
        )

    def objects(self) -> str:
        """Answers that are JSON lines, each with its host."""
        return "".join(
            with_host(asked, line) for asked, text in self.of_hosts for line in text.splitlines(keepends=True)
        )


def with_host(asked: Asked, line: str) -> str:
    """A line of JSON, which has no members host and cluster, with them ahead."""
    from tracer.views.objects import json_line

    return f"{json_line({'host': asked.host, 'cluster': asked.cluster}).rstrip()[:-1]},{line[1:]}"


def ask_hosts(where: str, cluster: str | None, texts: Sequence[str], ask: Ask[T], say: Say) -> Answers:
    """The answers of the hosts that HOST[:WHAT] mean, of all without any. cluster: theirs; None: any. Privileges are
    given up. Raises NstraceError where no host has an answer."""
    from tracer.fleet.archive_store import store_of
    from tracer.fleet.archiving import give_up_root
    from tracer.system import imports
    from tracer.system.privileges import drop

    imports.load(*_USED)
    give_up_root(where, is_new=False)
    store, tries = store_of(where), _Tries()
    asked: list[tuple[Asked, Callable[[], T]]] = []
    with errors_of(where):
        for whom, host, whats in _asked(store, cluster, texts, where):
            with tries.of(whom):
                asked.append((whom, ask(host, tuple(whats), partial(_say_of, whom, say))))
        store.close()
    drop()
    answers: list[tuple[Asked, T]] = []
    for whom, answer in asked:
        with tries.of(whom):
            answers.append((whom, answer()))
    if not answers:
        raise _all_of(tries.failures)
    unknown = [failure for failure in tries.failures if failure.exit_code == ExitCode.FAILURE]
    for failure in tries.failures:
        if failure not in unknown:
            say(failure.message)
    return Answers(answers, _all_of(unknown) if unknown else None)


def _asked(
    store: Store, cluster: str | None, texts: Sequence[str], where: str
) -> list[tuple[Asked, ArchivedHost, list[str]]]:
    """The hosts that are asked, and what about. Raises NstraceError where there are none."""
    from tracer.fleet.archived_host import ArchivedHost, hosts_in
    from tracer.fleet.names import Labels

    labels, found = Labels(), list[tuple[ArchivedHost, list[str]]]()
    for name, whats in _meant(hosts_in(store), texts, where).items():
        named = ArchivedHost(store, name).of_clusters()
        found += [(host, whats) for host in named if cluster in (None, host.cluster)]
    if not found:
        hint = "nstrace fleet hosts lists them with their clusters"
        raise NstraceError(f"none of these hosts is of the cluster {cluster!r}", hint, ExitCode.NO_TARGET)
    for host, _whats in found:
        labels.of(host.cluster, host.host)
    return [(Asked(one.cluster, one.host, labels.of(one.cluster, one.host)), one, whats) for one, whats in found]


class _Tries:
    """Collects the errors of hosts that have no answer: others may."""

    def __init__(self) -> None:
        self.failures: list[NstraceError] = []

    @contextmanager
    def of(self, asked: Asked) -> Iterator[None]:
        """Try a host."""
        try:
            yield
        except NstraceError as error:
            if error.exit_code not in _TRIED:
                raise
            self.failures.append(NstraceError(f"{asked.label}: {error.message}", error.hint, error.exit_code))


def _say_of(asked: Asked, say: Say, line: str) -> None:
    say(f"{asked.label}: {line}")


def _all_of(failures: Sequence[NstraceError]) -> NstraceError:
    worst = min(failures, key=lambda error: error.exit_code)
    return NstraceError("; ".join(error.message for error in failures), worst.hint, worst.exit_code)


def _meant(hosts: Sequence[str], texts: Sequence[str], where: str) -> dict[str, list[str]]:
    """For each host that is asked what it is asked about. Raises NstraceError for a pattern that means none."""
    from tracer.text.hints import near, shown

    if not hosts:
        raise NstraceError(f"no host is in the archive {where}", "nstrace fleet archive --to fills it")
    found: defaultdict[str, list[str]] = defaultdict(list, {host: [] for host in hosts} if not texts else {})
    for text in texts:
        pattern, _colon, what = text.partition(":")
        mine = [host for host in hosts if fnmatchcase(host, pattern)]
        if not mine:
            hint = f"{near(pattern, hosts)}in the archive: {shown(list(hosts))}"
            raise NstraceError(f"no host {pattern!r} is in the archive", hint, ExitCode.NO_TARGET)
        for host in mine:
            found[host] += [what] if what else []
    return dict(sorted(found.items()))


def _runs(host: ArchivedHost, say: Say) -> list[Run]:
    """Its runs, of which what is missing is said. Raises NstraceError where there is none."""
    from tracer.text.counted import counted

    runs = host.runs()
    if not runs:
        raise NstraceError("no event of it is in the archive", "nstrace fleet hosts lists them", ExitCode.NO_TARGET)
    missing, gaps, lost = (sum(getattr(run, name) for run in runs) for name in ("missing", "gaps", "lost"))
    if missing:
        say(f"{counted(missing, 'message')} of it {'is' if missing == 1 else 'are'} not in the archive")
    if _are_several(runs):
        say("several machines are called so at the same time: an answer may be about any of them")
    if gaps:
        say(f"events were lost: {counted(gaps, 'gap')}, {counted(lost, 'event')} or more")
    return runs


def _are_several(runs: Sequence[Run]) -> bool:
    """Whether runs of different boots overlap: a machine has one at a time. runs: in order of their beginning."""
    until_ns: dict[str, int] = {}
    for run in runs:
        if any(run.span.begin_ns < end_ns for boot, end_ns in until_ns.items() if boot != run.boot):
            return True
        until_ns[run.boot] = max(run.span.end_ns, until_ns.get(run.boot, 0))
    return False


def _run_at(runs: Sequence[Run], at: str | None) -> tuple[Run, int]:
    """The run that has a TIME, and that moment (wall clock); without one the end of the last run. Raises
    NstraceError."""
    from tracer.typed.moments import outside, parse_moment

    if at is None:
        last = max(runs, key=lambda run: run.span.end_ns)
        return last, last.span.end_ns
    for run in reversed(runs):
        moment_ns = parse_moment(at, run.span)
        if run.span.begin_ns <= moment_ns <= run.span.end_ns:
            return run, moment_ns
    raise outside(repr(at), [run.span for run in runs])


def processes_at(at: str | None) -> Ask[Gathered]:
    """What answers which processes lived at a TIME; None: at the last event of the host."""

    def ask(host: ArchivedHost, texts: tuple[str, ...], say: Say) -> Callable[[], Gathered]:
        from tracer.fleet.archived_host import About
        from tracer.text.times import precise
        from tracer.typed.moments import Span
        from tracer.wiring.open_recordings import targets_of
        from tracer.wiring.process_lists import recorded

        run, moment_ns = _run_at(_runs(host, say), at)
        if at is None:
            say(f"as of {precise(moment_ns)}: no later event is in the archive")
        targets = targets_of(texts or ("all",))
        window = Span(moment_ns, max(moment_ns, host.listed_ns(run)))  # before the list it is shown as of that
        found = host.recording(run, About(window))
        hint = "nstrace fleet ps HOST lists what was running then; --at TIME selects another moment"
        return lambda: recorded(found.source(), targets, moment_ns, hint, say)

    return ask


def translations(at: str | None, during: str | None, show: Callable[[Translation], str]) -> Ask[str]:
    """What answers which processes had a number at a TIME, or during A..B; without both: ever."""

    def ask(host: ArchivedHost, texts: tuple[str, ...], say: Say) -> Callable[[], str]:
        from tracer.fleet.archived_host import About
        from tracer.typed.moments import parse_range
        from tracer.typed.processes import parse_proc
        from tracer.wiring.recorded_translation import asking

        procs = [parse_proc(text) for text in texts]
        runs = _runs(host, say)
        if at:
            meant = [_run_at(runs, at)[0]]
        else:
            windows = parse_range(during or "..", [run.span for run in runs])
            meant = [run for run, window in zip(runs, windows, strict=True) if window]
        about = About(numbers=frozenset(proc.nr for proc in procs))
        found = [host.recording(run, about) for run in meant]

        def answer() -> str:
            asked = [asking(one.source(), procs, at, during, show, say) for one in found]
            return "".join(_of_any([partial(one, proc) for one in asked]) for proc in procs)

        return answer

    return ask


def _of_any(asked: Sequence[Callable[[], str]]) -> str:
    """The answers of all runs that have one. Raises NstraceError where none has, or one may have."""
    found, failures = [], []
    for ask in asked:
        try:
            found.append(ask())
        except NstraceError as error:
            failures.append(error)
    if failures and (not found or any(failure.exit_code == ExitCode.FAILURE for failure in failures)):
        raise _all_of(failures)
    return "".join(found)


def reasons(at: str | None, is_all: bool, as_json: bool) -> Ask[str]:
    """What answers how a container or a process ended, the last time until a TIME; is_all: all ends of containers."""

    def ask(host: ArchivedHost, texts: tuple[str, ...], say: Say) -> Callable[[], str]:
        from tracer.wiring.recorded_why import FOREVER_NS, answer_of

        what = texts[0] if texts else None
        runs, until_ns = _runs(host, say), FOREVER_NS
        if at is not None:
            run, until_ns = _run_at(runs, at)
            runs = runs[: runs.index(run) + 1]
        from tracer.fleet.archived_host import About

        if is_all:
            told = {run: host.ends_in(run, None, FOREVER_NS) for run in runs}
            all_of_them = [host.recording(run, About(in_containers=not told[run])) for run in runs]
            return lambda: answer_of([one.source() for one in all_of_them], what, None, True, as_json, until_ns)
        about, runs = _about_the_end(host, what or "", runs, until_ns)
        latest_first = [lambda one=one: answer_of([one.source()], what, None, False, as_json, until_ns)
                        for one in [host.recording(run, about) for run in runs]]  # fmt: skip
        return lambda: _first_of(latest_first)

    return ask


def _about_the_end(host: ArchivedHost, what: str, runs: Sequence[Run], until_ns: int) -> tuple[About, list[Run]]:
    """What has to be read for the last end of a container or a process, and of which runs, the latest first: of a
    container that is named, of those that tell of it, up to the one that has its end. Raises NstraceError where no
    container is called so."""
    from tracer.fleet.archived_host import About
    from tracer.typed.processes import parse_proc
    from tracer.wiring.recorded_why import LIFE, description, is_proc, unknown_container

    latest_first = list(reversed(runs))
    if is_proc(what):
        return About(numbers=frozenset({parse_proc(what).nr})), latest_first
    if description(what) or ":" in what.removeprefix("name:"):
        return About(in_containers=True), latest_first
    name, known = LIFE.sub("", what.removeprefix("name:")), host.containers()
    ids = frozenset(one.id for one in known if name in one.names or one.id.startswith(name))
    if not ids:
        raise unknown_container(what, sorted({name for one in known for name in one.names}))
    found = [run for run in latest_first if host.tells_of(run, ids)]
    is_any_life = LIFE.search(what) is None
    ends = [at for at, run in enumerate(found) if is_any_life and host.ends_in(run, name, until_ns)]
    return About(containers=ids), found[: ends[0] + 1] if ends else found


def _first_of(asked: Sequence[Callable[[], str]]) -> str:
    """The first answer that there is. Raises NstraceError where there is none."""
    failures = []
    for ask in asked:
        try:
            return ask()
        except NstraceError as error:
            failures.append(error)
    raise failures[0]


def summaries(since: str | None, until: str | None, as_json: bool) -> Ask[str]:
    """What counts what happened in a window; without one, in all that the archive has."""

    def ask(host: ArchivedHost, texts: tuple[str, ...], say: Say) -> Callable[[], str]:
        from tracer.fleet.archived_host import About
        from tracer.text.times import precise
        from tracer.typed.moments import parse_windows
        from tracer.wiring.open_recordings import targets_of

        runs, targets = _runs(host, say), targets_of(texts)
        if until is None:
            say(f"until {precise(max(run.span.end_ns for run in runs))}: no later event is in the archive")
        windows = parse_windows(since, until, [run.span for run in runs])
        found = [
            (host.recording(run, About(window)), window)
            for run, window in zip(runs, windows, strict=True)
            if window is not None
        ]

        def answer() -> str:
            from tracer.recording.filtered import say_incomplete
            from tracer.recording.multiple_runs import check_found

            sources = [one.source(targets) for one, _window in found]
            for source, (_one, window) in zip(sources, found, strict=True):
                if since or until:
                    source.show(window, with_living=True)
            texts = [_summary(source, host, as_json) for source in sources]
            check_found(sources)
            say_incomplete(sources, say)
            return "".join(texts)

        return answer

    return ask


def _summary(source: RecordedSource, host: ArchivedHost, as_json: bool) -> str:
    """What a recording adds up to."""
    from tracer.recording.filtered import is_filtered
    from tracer.stream.tally import Tallies
    from tracer.views.objects import json_line
    from tracer.views.summary import summary_object, summary_text

    tallies, offset_ns = Tallies(), source.wall_offset_ns
    for batch in source.batches(lambda: 0.0):
        tallies.take(batch, source.attribution)
    if as_json:
        made = summary_object(tallies, offset_ns, host.host, is_filtered(source))
        return json_line({"host": host.host, "cluster": host.cluster} | made)
    return summary_text(tallies, offset_ns, None, False)
