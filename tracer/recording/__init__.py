"""Recordings: written, checked, read, replayed and exported. Reads untrusted files, without privileges.

Edge: imports no other edge. May import all that is pure, text and views.
"""
