"""Text that is safe and fits: escaping, widths, times, wait statuses, what views and errors both need.

Floor: no I/O; times ask for the time zone. May import stream and typed.
"""
