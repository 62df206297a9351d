"""One click command a file: options and help, then wiring.

Top: only cli imports these. May import everything, inside of functions.
"""
