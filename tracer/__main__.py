"""python -m tracer: the nstrace command."""

from tracer.cli import main

main()
