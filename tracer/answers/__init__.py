"""The answer to one question, as plain data that views print.

Pure: no I/O, no clock. May import errors, stream, text and typed.
"""
