"""The command nstrace, and python -m tracer: handles Ctrl-C, then imports the rest."""

from tracer import interrupt

interrupt.begin()

from tracer.cli import main  # noqa: E402 - not before

if __name__ == "__main__":
    main()
