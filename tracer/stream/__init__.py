"""The stream of events: what an event is (`schema` declares it), and what is worked out from a run of events.

Pure: no I/O, no clock. May import errors, system, text and typed.
"""
