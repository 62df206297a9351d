"""What users type: targets, processes, moments. Parsed here, resolved elsewhere.

Floor: no I/O; moments asks the clock for "3m ago". May import errors, stream, system and text.
"""
