"""Containers: from cgroup paths, and from what an engine says of names, images and labels.

Edge: imports no other edge. May import errors, stream, text and typed.
"""
