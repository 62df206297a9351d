"""Calls to the operating system that several edges need: privileges, seccomp, clocks, pidfd.

Floor: below everything. May import errors alone.
"""
