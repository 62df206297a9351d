"""A job for spark-submit: a log of many hosts -> the same rows, each with the process that it is about.

    spark-submit "$(python3 -c 'import tracer.fleet.spark_job as job; print(job.__file__)')" \\
        --archive s3a://archive/nstrace --log s3a://logs/2026-11-29 --on pid --to s3a://joined/2026-11-29
"""

from __future__ import annotations

import click

from tracer.errors import NstraceError


@click.command()
@click.option("--archive", required=True, metavar="PATH", help="What nstrace fleet archive --to has written.")
@click.option("--log", required=True, metavar="PATH", help="The log: Parquet.")
@click.option("--to", "out", required=True, metavar="PATH", help="Where the rows are written: Parquet.")
@click.option("--on", required=True, metavar="COLUMNS", help="The column with a PID of the host, or CONTAINER,NS_PID.")
@click.option("--time-column", default="time", show_default=True, metavar="NAME", help="A timestamp, or ns since 1970.")
@click.option("--host-column", default="host", show_default=True, metavar="NAME", help="The name of the host.")
@click.option("--lag", "lag_s", type=float, default=0.1, show_default=True, help="How late a row gets its time, in s.")
def main(archive: str, log: str, out: str, on: str, time_column: str, host_column: str, lag_s: float) -> None:
    """Join LOG with the processes of an archive: who had the number when the row was written."""
    from pyspark.sql import SparkSession

    from tracer.fleet import spark as fleet

    *container, number = on.split(",")
    if not number or len(container) > 1 or not all(container):
        raise click.UsageError("--on is the name of one column, or of two: CONTAINER,NS_PID")
    spark = SparkSession.builder.appName("nstrace").getOrCreate()
    try:
        spark.conf.set(fleet.NANOS, "true")
        joined = fleet.translate(
            spark.read.parquet(log), fleet.processes(spark, archive),
            gaps=fleet.gaps(spark, archive), runs=fleet.runs(spark, archive),
            pid=number, container="".join(container), time=time_column, host=host_column, lag_s=lag_s,
        )  # fmt: skip
        joined.write.parquet(out)
    except NstraceError as error:
        raise click.ClickException(f"{error.message} ({error.hint})") from error
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
