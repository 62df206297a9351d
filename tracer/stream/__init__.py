"""The stream of events: what an event is, and what is worked out from a run of them. Pure: no I/O, no clock, no edge.

`schema` declares the event; everything else about its form is derived from there.
"""
