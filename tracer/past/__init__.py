"""What recorded events answer afterwards: which process had which number when.

Pure: no I/O, no clock. May import answers, errors, stream, text and typed.
"""
