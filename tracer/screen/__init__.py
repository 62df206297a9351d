"""The screen of nstrace top: a model of what is sampled, and widgets that draw it. Its process has no privilege.

Edge: a terminal, a socket to the process that reads, and what everybody may read in /proc.
"""
