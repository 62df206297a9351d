"""The host as it is now, without eBPF: /proc, the ioctls of namespaces, and what is asked of both."""
