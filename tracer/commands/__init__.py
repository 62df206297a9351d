"""One click command a file: options and help, then wiring.

Top: nobody imports these but cli. May import everything, inside of functions.
"""
