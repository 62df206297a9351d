"""Data in, text out: one module for each form of output. Never opens a file.

Floor: no I/O; clocks ask for the time zone. May import answers, stream, system and text.
"""
