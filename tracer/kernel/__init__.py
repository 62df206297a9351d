"""eBPF: programs compiled, loaded and attached by a child, maps and ring read, the self-check. Needs privileges.

Edge: imports no other edge. May import errors, stream and system.
"""
