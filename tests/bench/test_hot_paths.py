"""What an event costs on its way, in batches as a storm makes them: .venv/bin/pytest tests/bench

Each figure is for a whole batch of EVENTS events.
"""

import io
import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from builders import WEB, cgroup, fork, row
from builders import batch as handmade

from bench.synthetic import CGROUP, PIDNS, batch, records
from tracer.recording.columns import from_arrow, to_arrow
from tracer.recording.schema import SCHEMA
from tracer.secrets.redactor import Redactor
from tracer.stream.attribution import Attribution
from tracer.stream.batch import EVENT, Batch
from tracer.stream.decoding import GapFinder, Joiner
from tracer.stream.exit_commands import ExitCommands
from tracer.stream.pidns import INITIAL_PIDNS, PidnsId
from tracer.stream.schema import Kind
from tracer.stream.selection import Selection
from tracer.stream.sessions import Sessions
from tracer.stream.table import Table
from tracer.typed.targets import parse_target
from tracer.views.jsonl import JsonLines
from tracer.views.lines import Lines

LIVES = 100
EVENTS = 3 * LIVES
RECORDED = 20_000  # lives a flush
KINDS = frozenset({Kind.FORK, Kind.EXEC, Kind.EXIT, Kind.SNAPSHOT})
SPACE = PidnsId(PIDNS, 1)


def attribution() -> Attribution:
    """Knows the container."""
    known = Attribution()
    row = cgroup(CGROUP, WEB)
    list(known.split_and_learn(Batch(np.array([row.event], EVENT), row.heap)))
    return known


def fresh() -> tuple[Any, dict[str, Any]]:
    """A batch that no one has looked at: what it remembers of itself is part of the cost."""
    return (batch(LIVES),), {}


def test_decode(benchmark: Any) -> None:
    ring = records(LIVES)
    decoded = benchmark(lambda: GapFinder().check(Joiner().join(ring).batch))
    assert len(decoded) == EVENTS


def test_select(benchmark: Any) -> None:
    selection = Selection((parse_target("web"),), attribution())
    mask = benchmark.pedantic(selection.mask, setup=fresh, rounds=200)
    assert mask.all()


def test_mark_sessions(benchmark: Any) -> None:
    """Nobody comes from outside, as nearly always."""
    known = attribution()
    list(known.split_and_learn(handmade(fork(1, [(PIDNS, 1, 1)], cgroup_id=CGROUP))))
    sessions = Sessions(known, Table())
    assert len(benchmark.pedantic(sessions.take, setup=fresh, rounds=200)) == EVENTS


@pytest.mark.parametrize("kind", ["the same", "all different", "all secret"])
def test_redact(kind: str, benchmark: Any) -> None:
    """A third of the rows have a command line."""
    redactor, numbers = Redactor(), itertools.count()
    args = {"the same": "sleep\0001\0", "all different": "grep\0-r\0x{}\0/usr/lib\0", "all secret": "x\0--token={}\0"}

    def next_batch() -> tuple[Any, dict[str, Any]]:
        texts = [args[kind].format(next(numbers)).encode() for _ in range(LIVES)]
        rows = [row(Kind.EXEC, 7, exe=b"/bin/x", args=text.split(b"\0")[:-1]) for text in texts]
        return (Batch.concat([handmade(*rows), batch(LIVES).select(batch(LIVES).rows["kind"] != Kind.EXEC)]),), {}

    assert len(benchmark.pedantic(redactor, setup=next_batch, rounds=100)) == EVENTS
    assert (redactor.count > 0) == (kind == "all secret")


@pytest.mark.parametrize("lives", [LIVES, 2000])
def test_commands_of_exits(lives: int, benchmark: Any) -> None:
    table = Table()

    def fresh() -> tuple[Any, dict[str, Any]]:
        return (batch(lives),), {}

    def fill(told: Batch) -> list[Batch]:
        return list(ExitCommands(told, table).pieces())

    (filled,) = benchmark.pedantic(fill, setup=fresh, rounds=200)
    assert (filled.rows["args_len"][filled.rows["kind"] == Kind.EXIT] > 0).all()


def test_table_update(benchmark: Any) -> None:
    table, done = Table(), 0

    def next_batch() -> tuple[Any, dict[str, Any]]:
        nonlocal done
        done += LIVES
        return (batch(LIVES, done),), {}

    benchmark.pedantic(table.apply, setup=next_batch, rounds=400)
    assert len(table) >= LIVES and table.live == 0


@pytest.fixture(scope="module")
def crowd() -> Table:
    """100 000 processes."""
    rows = batch(100_000)
    living = rows.select(rows.rows["kind"] == Kind.FORK)
    for number in range(100_000):
        living.rows["tgid"][number] = living.rows["chain"]["nr"][number, 0] = 10_000 + number
    table = Table()
    table.apply(living)
    return table


def test_lookup_host_to_container(benchmark: Any, crowd: Table) -> None:
    chain = benchmark(crowd.chain, 60_000)
    assert [number.nr for number in chain] == [60_000, 60_000]


def test_lookup_container_to_host(benchmark: Any, crowd: Table) -> None:
    assert benchmark(crowd.to_host, SPACE, 60_000) == 60_000
    assert crowd.to_host(INITIAL_PIDNS, 60_000) == 60_000


VIEWS = {
    "text": Lines(KINDS, False, False, 10**18),
    "terminal": Lines(KINDS, True, False, 10**18, lambda: 100),
    "json": JsonLines(KINDS, False, 10**18),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_view(benchmark: Any, view: Lines | JsonLines) -> None:
    known: Attribution = attribution()

    def fresh() -> tuple[Any, dict[str, Any]]:
        return tuple(ExitCommands(batch(LIVES), Table()).pieces()), {}

    def render(told: Batch) -> bytes:
        return view.render(told, known)

    text = benchmark.pedantic(render, setup=fresh, rounds=200)
    assert text.count(b"\n") == EVENTS


def test_arrow_write(benchmark: Any) -> None:
    told = batch(RECORDED)

    def write() -> bytes:
        out = io.BytesIO()
        with pa.ipc.new_stream(out, SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(to_arrow(told, 0))
        return out.getvalue()

    assert len(benchmark(write)) < 30 * 3 * RECORDED


def test_arrow_read(benchmark: Any) -> None:
    columns = to_arrow(batch(RECORDED), 0)
    assert len(benchmark(from_arrow, columns, 0)) == 3 * RECORDED
