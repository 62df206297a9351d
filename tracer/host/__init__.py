"""The host as it is now, without eBPF: /proc, the ioctls of namespaces, and what is asked of both.

Edge: combines with containers, and with kernel for the view from inside. May import all that is pure, and text.
"""
