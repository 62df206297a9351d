"""python -m bench.conditions LIBRARY: what a condition in SQL costs in duckdb, polars or datafusion, as far as they are
installed: start-up, memory, threads, CPU an event in large and small batches, and what they say of mistakes."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from bench import synthetic
from tracer.recording.export_rows import flat
from tracer.stream.attribution import Attribution

os.environ |= {"POLARS_MAX_THREADS": "1"}
CONDITIONS = ("event = 'exec' and comm in ('sh', 'true')", "exit_code <> 0 or signal is not null", "exe like '%true%'")
MISTAKES = ("comand = 'x'", "event = 'exec' and", "args like '%x%'")
Evaluate = Callable[[pa.RecordBatch], Any]


def duckdb(first: pa.RecordBatch) -> Callable[[str], Evaluate]:
    """Prepared once, without the optimizer: for small batches a tenth of a query of its own."""
    from tracer.ask.condition import Rows
    from tracer.ask.database import connect

    database, rows, numbers = connect(), Rows(first), itertools.count()
    database.register("rows", rows)
    database.execute("pragma disable_optimizer").fetchall()

    def prepare(condition: str) -> Evaluate:
        name = f"condition{next(numbers)}"
        database.execute(f"prepare {name} as select ({condition}) is true from rows").fetchall()

        def evaluate(batch: pa.RecordBatch) -> Any:
            rows.batch = batch
            return database.execute(f"execute {name}").fetchnumpy()

        return evaluate

    return prepare


def polars(first: pa.RecordBatch) -> Callable[[str], Evaluate]:
    """An expression, applied to a data frame of the batch."""
    library: Any = importlib.import_module("polars")

    def prepare(condition: str) -> Evaluate:
        expression = library.sql_expr(condition)
        return lambda batch: library.from_arrow(batch).select(expression).to_series().to_numpy()

    return prepare


def datafusion(first: pa.RecordBatch) -> Callable[[str], Evaluate]:
    """A query a batch."""
    library: Any = importlib.import_module("datafusion")
    context = library.SessionContext(library.SessionConfig().with_target_partitions(1))

    def prepare(condition: str) -> Evaluate:
        def evaluate(batch: pa.RecordBatch) -> Any:
            if context.table_exist("rows"):
                context.deregister_table("rows")
            context.register_record_batches("rows", [[batch]])
            return context.sql(f"select ({condition}) is true from rows").collect()

        return evaluate

    return prepare


def resident_mib() -> int:
    """What is in memory now."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def main(name: str) -> None:
    """Print the figures of one library."""
    sizes = {3 * lives: flat(synthetic.batch(lives), Attribution(), 0, "host") for lives in (7, 70, 7000)}
    first = next(iter(sizes.values()))
    memory, began = resident_mib(), time.process_time()
    prepare = globals()[name](first)
    prepare(CONDITIONS[0])(first)
    began_ms = 1e3 * (time.process_time() - began)
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208
    print(f"{name}: first answer {began_ms:.0f} ms CPU, {resident_mib() - memory} MiB more, {threads} threads")
    for rows, batch in sizes.items():
        costs = [cost_us(prepare(condition), batch, max(5, 60_000 // rows)) for condition in CONDITIONS]
        print(f"  {rows} rows: {max(costs):.0f} us a batch, {max(costs) / rows:.3f} us an event")
    for mistake in MISTAKES:
        try:
            prepare(mistake)(first)
        except Exception as error:
            print(f"  {mistake}: {' '.join(str(error).split())[:160]}")


def cost_us(evaluate: Evaluate, batch: pa.RecordBatch, times: int) -> float:
    """CPU of one evaluation."""
    evaluate(batch)
    began = time.process_time()
    for _ in range(times):
        evaluate(batch)
    return 1e6 * (time.process_time() - began) / times


if __name__ == "__main__":
    main(sys.argv[1])
