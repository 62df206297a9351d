"""Containers: from cgroup paths, and from the names, images and labels that an engine reports.

Edge: imports no other edge. May import errors, stream, text and typed.
"""
