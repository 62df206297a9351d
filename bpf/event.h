/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The record: one size for all, so that a batch of them is one array.
 *
 * Plain C without kernel types, shared by the probes and (as a numpy dtype in
 * tracer/events.py, held against this file by a test) by the reader.
 *
 * A process has one number in each PID namespace that it is in, up to 33
 * (MAX_PID_NS_LEVEL, include/linux/pid_namespace.h). An event carries them
 * innermost first; the number in the initial namespace is the tgid, so that
 * namespace has an entry of its own only where it is the innermost. What does
 * not fit (deeper chains, file name and arguments of an exec) goes ahead of
 * its event in pieces of the same size, on the same CPU, with the same seq.
 */
#ifndef NSTRACE_EVENT_H
#define NSTRACE_EVENT_H

#define INLINE_LEVELS 3
#define MAX_LEVELS 32 /* below the initial namespace */
#define PIECE_BYTES 128
#define PIECE_LEVELS (PIECE_BYTES / 16)

enum kind {
	KIND_FORK = 1,
	KIND_EXEC = 2,
	KIND_EXIT = 3, /* of the process: its last thread */
	KIND_THREAD_FORK = 4,
	KIND_THREAD_EXIT = 5,
	KIND_SNAPSHOT = 6, /* was there before tracing began */
	/* 7 to 10 are made by the reader */
	KIND_MOVE = 11, /* the process is in another cgroup now */
	KIND_PIECE_CHAIN = 16,
	KIND_PIECE_EXE = 17,
	KIND_PIECE_ARGS = 18,
	KIND_PIECE_CGROUP = 19,
};

enum flag {
	FLAG_ARGS_TRUNCATED = 1,
	FLAG_INFERRED = 2,
	FLAG_ENDED = 4, /* snapshot: its exit has been told, if anyone was there */
	FLAG_UNDECIDED = 8, /* no decision was known here */
	FLAG_ENDING = 16, /* snapshot: its exit is about to be told, or has been */
	FLAG_THROTTLED = 32, /* of a gap: made by the reader */
	FLAG_MOVED = 64, /* the process has come from another cgroup */
	FLAG_CARRIED = 128, /* snapshot: made by the reader, of what it knew */
};

/* The number that a process has in one PID namespace. */
struct number {
	u32 inum; /* inode number of the namespace: reused at once */
	u32 nr;
	u64 gen; /* tells two namespaces with the same inum apart; initial = 0 */
};

struct event {
	u64 ts_ns; /* CLOCK_BOOTTIME */
	u64 seq; /* per CPU, counts attempts: a hole is a loss */
	u8 kind;
	u8 flags;
	u8 level; /* of the innermost namespace; initial = 0 */
	u8 state; /* snapshot: the letter that ps shows */
	u16 cpu;
	u16 exec_id; /* goes up with each exec; a fork begins with its parent's */
	u64 start_ns; /* with tgid the identity of the process */
	u64 parent_start_ns;
	u64 cgroup_id; /* of the leader, as all that is the process's */
	u32 tgid;
	u32 tid;
	u32 vtid;
	u32 old_tid; /* exec: the caller's tid before it */
	u32 parent_tgid;
	u32 parent_vtgid; /* 0: the parent is not in this namespace */
	u32 uid; /* real uid in the initial user namespace */
	u32 status; /* exit: as wait(2) gives it */
	u32 deep_len; /* bytes in pieces: rest of the chain, */
	u32 exe_len; /* file name, */
	u32 args_len; /* arguments, */
	u32 args_total; /* of which there were so many bytes */
	char comm[16];
	struct number chain[INLINE_LEVELS]; /* innermost first */
};

/* seq, kind and cpu stand where the event has them. */
struct piece {
	u64 id; /* cgroup: its id; else 0 */
	u64 seq; /* that of the event it goes ahead of */
	u8 kind;
	u8 last; /* cgroup: the name ends here */
	u16 len; /* of bytes */
	u16 cpu;
	u16 pad;
	u64 parent_id; /* cgroup: the parent's id, 0 at the root */
	char bytes[PIECE_BYTES];
};

#endif
