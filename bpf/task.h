/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How a fact is read from a task.
 *
 * The structures hold just the members named in tracer/kernel/layout.py, at
 * the running kernel's offsets. BCC rewrites member access in the main file
 * only: here every read is spelled out.
 */
#ifndef NSTRACE_TASK_H
#define NSTRACE_TASK_H

#include "event.h"

#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */

#define READ(from, member)                                                     \
	({                                                                     \
		typeof((from)->member) value_;                                 \
		bpf_probe_read_kernel(&value_, sizeof(value_),                 \
				      &(from)->member);                        \
		value_;                                                        \
	})

/* The key of a decision: who shares a namespace and a cgroup is one case. */
struct pair {
	u64 gen;
	u64 cgroup_id;
	u32 inum;
	u32 pad;
};

static __always_inline bool is_thread(struct task_struct *t)
{
	return READ(t, pid) != READ(t, tgid);
}

/* The entry at a level, 0 being the initial namespace. */
static __always_inline void read_upid(struct upid *upid, struct pid *pid,
				      u32 level)
{
	bpf_probe_read_kernel(upid, sizeof(*upid),
			      (char *)&pid->numbers +
				      level * sizeof(struct upid));
}

static __always_inline void read_number(struct number *n, struct pid *pid,
					u32 level)
{
	struct upid upid;
	struct pid_namespace *ns;

	read_upid(&upid, pid, level);
	ns = upid.ns;
	n->nr = upid.nr;
	n->inum = READ(ns, ns_inum);
#ifdef HAVE_NS_ID
	n->gen = READ(ns, ns_ns_id);
#else
	struct task_struct *init = READ(ns, child_reaper);
	struct task_struct *leader = READ(init, group_leader);

	n->gen = READ(leader, start_boottime);
#endif
}

static __always_inline struct cgroup *cgroup_of(struct task_struct *t)
{
	struct css_set *set = READ(t, cgroups);
#if CGROUP_SUBSYS < 0
	return READ(set, dfl_cgrp);
#else
	struct cgroup_subsys_state *css = NULL;

	bpf_probe_read_kernel(&css, sizeof(css),
			      (char *)&set->subsys +
				      CGROUP_SUBSYS * sizeof(css));
	return READ(css, cgroup);
#endif
}

static __always_inline u64 cgroup_id(struct cgroup *cgroup)
{
	struct kernfs_node *kn = READ(cgroup, kn);

	return READ(kn, id);
}

static __always_inline const char *cgroup_name(struct cgroup *cgroup)
{
	struct kernfs_node *kn = READ(cgroup, kn);

	return READ(kn, name);
}

static __always_inline struct cgroup *cgroup_parent(struct cgroup *cgroup)
{
	struct cgroup_subsys_state *css = READ(cgroup, self_parent);

	return css ? READ(css, cgroup) : NULL;
}

static __always_inline struct pid *pid_of(struct task_struct *t)
{
	struct task_struct *leader = READ(t, group_leader);

	return READ(leader, thread_pid);
}

/* What decides whether anyone wants to know of this process. */
static __always_inline void fill_pair(struct event *e, struct task_struct *t,
				      struct pid *pid)
{
	e->level = READ(pid, level);
	read_number(&e->chain[0], pid, e->level);
	e->cgroup_id = cgroup_id(cgroup_of(t));
}

/* As task_tgid_nr_ns(parent, the child's namespace): 0 when not in there. */
static __always_inline u32 number_inside(struct pid *parent, struct pid *child)
{
	u32 level = READ(child, level);
	struct upid seen, own;

	if (READ(parent, level) < level)
		return 0;
	read_upid(&seen, parent, level);
	read_upid(&own, child, level);
	return seen.ns == own.ns ? seen.nr : 0;
}

static __always_inline void fill_parent(struct event *e, struct task_struct *t,
					struct pid *pid)
{
	struct task_struct *parent = READ(t, real_parent);
	struct task_struct *leader = READ(parent, group_leader);

	e->parent_tgid = READ(leader, pid);
	e->parent_start_ns = READ(leader, start_boottime);
	if (!e->parent_tgid) /* the idle task */
		return;
	e->parent_vtgid = number_inside(READ(leader, thread_pid), pid);
}

static __always_inline void fill_chain(struct event *e, struct pid *pid)
{
#pragma unroll
	for (int i = 1; i < INLINE_LEVELS; i++)
		if (i < e->level)
			read_number(&e->chain[i], pid, e->level - i);
}

/* All else but seq, kind and what only one kind has; e is zeroed. */
static __always_inline void fill(struct event *e, struct task_struct *t,
				 struct pid *pid)
{
	struct task_struct *leader = READ(t, group_leader);
	struct pid *own = READ(t, thread_pid);
	const struct cred *cred = READ(t, real_cred);
	struct upid upid;

	e->ts_ns = bpf_ktime_get_boot_ns();
	e->cpu = bpf_get_smp_processor_id();
	e->tgid = READ(t, tgid);
	e->tid = READ(t, pid);
	e->start_ns = READ(leader, start_boottime);
	e->exec_id = READ(t, self_exec_id); /* the low bits of it */
	e->uid = READ(cred, uid_val);
	bpf_probe_read_kernel(&e->comm, sizeof(e->comm), &t->comm);
	read_upid(&upid, own, e->level); /* threads share the namespace */
	e->vtid = upid.nr;
	fill_chain(e, pid);
	fill_parent(e, leader, pid);
}

/* The next PIECE_LEVELS of the chain, from index `from` counted innermost first. */
static __always_inline void fill_chain_piece(struct piece *p, struct pid *pid,
					     u32 level, u32 from)
{
	struct number *numbers = (struct number *)p->bytes;
	u32 left = level - from;

	if (left > PIECE_LEVELS)
		left = PIECE_LEVELS;
	p->kind = KIND_PIECE_CHAIN;
	p->len = left * sizeof(struct number);
#pragma clang loop unroll(disable)
	for (int i = 0; i < PIECE_LEVELS; i++) {
		if (i < left)
			read_number(&numbers[i], pid, level - from - i);
	}
}

/*
 * Part of a cgroup's name, from a byte on. Returns where the next part begins;
 * 0: this was the last. NAME_MAX makes it three at most, which the verifier
 * must see.
 */
static __always_inline u32 fill_cgroup_piece(struct piece *p,
					     struct cgroup *cgroup, u32 from)
{
	struct cgroup *parent = cgroup_parent(cgroup);
	int len = bpf_probe_read_kernel_str(p->bytes, PIECE_BYTES,
					    cgroup_name(cgroup) + from);

	p->kind = KIND_PIECE_CGROUP;
	p->id = cgroup_id(cgroup);
	p->parent_id = parent ? cgroup_id(parent) : 0;
	p->len = len > 0 ? len - 1 : 0;
	p->last = len < PIECE_BYTES || from > PIECE_BYTES;
	return p->last ? 0 : from + PIECE_BYTES - 1;
}

/* As wait(2) will give it: wait_task_zombie(), kernel/exit.c. */
static __always_inline u32 exit_status(struct task_struct *t)
{
	struct task_struct *leader = READ(t, group_leader);
	struct signal_struct *signal = READ(t, signal);

	if (READ(signal, flags) & SIGNAL_GROUP_EXIT)
		return READ(signal, group_exit_code);
	return READ(leader, exit_code);
}

static __always_inline bool is_last_thread(struct task_struct *t)
{
	struct signal_struct *signal = READ(t, signal);

	return READ(signal, live_counter) == 0;
}

/*
 * Where a process stands in do_exit() (kernel/exit.c): live is 0 before the
 * exit event, and that can be seconds; exit_state is set, and other threads are
 * released, after it.
 */
static __always_inline u8 end_flags(struct task_struct *leader)
{
	struct signal_struct *signal = READ(leader, signal);

	if (READ(signal, live_counter))
		return 0;
	if (READ(leader, exit_state) && READ(signal, nr_threads) == 1)
		return FLAG_ENDING | FLAG_ENDED;
	return FLAG_ENDING;
}

static __always_inline const char *exec_name(struct linux_binprm *bprm)
{
	return READ(bprm, filename);
}

/*
 * The context of an iterator over tasks: struct bpf_iter__task is two 64-bit
 * pointers, meta and task, and meta begins with seq (include/linux/bpf.h). The
 * verifier wants these loads plain, not by bpf_probe_read_kernel().
 */
static __always_inline void *iter_seq(void *ctx)
{
	void **meta = *(void ***)ctx;

	return meta[0];
}

static __always_inline struct task_struct *iter_task(void *ctx)
{
	return ((void **)ctx)[1];
}

/* The letter that /proc/PID/stat shows: get_task_state(), fs/proc/array.c. */
static __always_inline u8 state_letter(struct task_struct *t)
{
	u32 state = READ(t, state) & 0x7f;
	u32 exit_state = READ(t, exit_state);

	if (exit_state & 0x30)
		return exit_state & 0x20 ? 'Z' : 'X';
	if (state & 0x01)
		return 'S';
	if (state & 0x02)
		return 'D';
	if (state & 0x04)
		return 'T';
	if (state & 0x08)
		return 't';
	return state & 0x40 ? 'P' : 'R';
}

#endif
