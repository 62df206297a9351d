"""The initial PID namespace, which every process of the host has a number in. Imports nothing: start-up needs it."""

INITIAL_PIDNS_INUM = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
