"""Text that is safe and fits: escaping, widths, times, wait statuses, what views and errors need alike.

Floor: no I/O; times ask for the time zone. May import stream and typed.
"""
