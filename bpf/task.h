/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How a fact is read from a task.
 *
 * The structures hold just the members named in tracer/kernel/btf.py, at the
 * running kernel's offsets. What a tracepoint passes, and what that leads to,
 * is loaded like any memory: the verifier checks each load against the kernel's
 * own types, and one from a bad address gives 0 (PTR_TO_BTF_ID). It looks up a
 * type by its name for each pointer that is followed, in a list of 100 000: so
 * follow one only once, and never in a loop. All other loads are calls, READ(),
 * that cost the traced process more.
 *
 * BCC rewrites member access in the main file: so it stands here.
 */
#ifndef NSTRACE_TASK_H
#define NSTRACE_TASK_H

#include "event.h"

#define ENOENT 2 /* include/uapi/asm-generic/errno-base.h */
#define EACCES 13
#define ENOTDIR 20
#define SIGNAL_GROUP_EXIT 0x00000004 /* include/linux/sched/signal.h */
#define PF_EXITING 0x00000004 /* include/linux/sched.h */
#define PF_KTHREAD 0x00200000
#define SIGHUP 1
#define SIGKILL 9
#define FORCED                                                               \
	(1U << 4 /* SIGILL */ | 1U << 5 /* SIGTRAP */ | 1U << 7 /* SIGBUS */ \
	 | 1U << 8 /* SIGFPE */ | 1U << SIGKILL | 1U << 11 /* SIGSEGV */     \
	 | 1U << 31 /* SIGSYS */)
#define SEND_SIG_NOINFO 0 /* in place of a siginfo: from the current process */
#define SEND_SIG_PRIV 1 /* and from the kernel */
#define SI_TIMER -2 /* include/uapi/asm-generic/siginfo.h */
#define SI_ASYNCIO -4
#define STACK_BYTES (PAGE_SIZE > 16384 ? PAGE_SIZE : 16384)

#define READ(from, member)                                                     \
	({                                                                     \
		typeof((from)->member) value_;                                 \
		bpf_probe_read_kernel(&value_, sizeof(value_),                 \
				      &(from)->member);                        \
		value_;                                                        \
	})

/* The key of a decision: processes that share a namespace and a cgroup. */
struct pair {
	u64 gen;
	u64 cgroup_id;
	u32 inum;
	u32 pad;
};

static __always_inline bool is_thread(struct task_struct *t)
{
	return t->pid != t->tgid;
}

static __always_inline u32 process_of(struct task_struct *t)
{
	return t->tgid;
}

static __always_inline struct task_struct *leader_of(struct task_struct *t)
{
	return t->group_leader;
}

static __always_inline struct task_struct *current_leader(void)
{
	struct task_struct *t = (void *)bpf_get_current_task_btf();

	return t->group_leader;
}

/* The entry at a level, 0 being the initial namespace; its ns has no type. */
static __always_inline void read_upid(struct upid *upid, struct pid *pid,
				      u32 level)
{
	level &= 2 * MAX_LEVELS - 1; /* the verifier needs a bound */
	bpf_probe_read_kernel(upid, sizeof(*upid),
			      (char *)&pid->numbers +
				      level * sizeof(struct upid));
}

/* n->nr is that of upid; the rest identifies its namespace. */
static __always_inline void fill_number(struct number *n, struct upid *upid,
					u32 level)
{
	struct pid_namespace *ns = upid->ns;

	n->nr = upid->nr;
	n->inum = READ(ns, ns_inum);
	if (!level)
		return;
#ifdef HAVE_NS_ID
	n->gen = READ(ns, ns_ns_id);
#else
	struct task_struct *init = READ(ns, child_reaper);
	struct task_struct *leader = READ(init, group_leader);

	n->gen = READ(leader, start_boottime);
#endif
}

static __always_inline void read_number(struct number *n, struct pid *pid,
					u32 level)
{
	struct upid upid;

	read_upid(&upid, pid, level);
	fill_number(n, &upid, level);
}

/* The cgroup of a task, by the node that has its name. */
static __always_inline struct kernfs_node *cgroup_of(struct task_struct *t)
{
	struct css_set *set = t->cgroups;
#if CGROUP_SUBSYS < 0
	struct cgroup *cgroup = set->dfl_cgrp;
#else
	struct cgroup_subsys_state **subsys = (void *)&set->subsys;
	struct cgroup *cgroup = subsys[CGROUP_SUBSYS]->cgroup;
#endif

	return cgroup->kn;
}

/* The task of an event: what is read once and needed again. */
struct who {
	struct task_struct *task;
	struct task_struct *leader;
	struct pid *pid; /* of the process */
	struct upid upid; /* its innermost entry */
	struct kernfs_node *cgroup;
};

/*
 * What decides whether a process is followed. A process is its leader, alive or
 * not: threads may be in other cgroups than it.
 */
static __always_inline void fill_pair(struct event *e, struct who *who,
				      struct task_struct *t)
{
	who->task = t;
	who->leader = t->group_leader;
	who->pid = who->leader->thread_pid;
	who->cgroup = cgroup_of(who->leader);
	e->level = who->pid->level;
	read_upid(&who->upid, who->pid, e->level);
	fill_number(&e->chain[0], &who->upid, e->level);
	e->cgroup_id = who->cgroup->id;
}

/* As task_tgid_nr_ns(parent, the child's namespace): 0 if not in there. */
static __always_inline u32 number_inside(struct pid *parent, u32 level,
					 struct pid_namespace *ns)
{
	struct upid upid;

	if (parent->level < level)
		return 0;
	read_upid(&upid, parent, level);
	return upid.ns == ns ? upid.nr : 0;
}

static __always_inline void fill_parent(struct event *e, struct who *who)
{
	struct task_struct *parent = who->leader->real_parent;
	struct task_struct *leader = parent->group_leader;

	e->parent_tgid = leader->pid;
	e->parent_start_ns = leader->start_boottime;
	if (!e->parent_tgid) /* the idle task */
		return;
	e->parent_vtgid =
		number_inside(leader->thread_pid, e->level, who->upid.ns);
}

/* The task's own number in the innermost namespace, which all threads share. */
static __always_inline u32 own_number(struct event *e, struct who *who)
{
	struct upid upid;

	if (e->tid == e->tgid)
		return who->upid.nr;
	read_upid(&upid, who->task->thread_pid, e->level);
	return upid.nr;
}

static __always_inline void fill_chain(struct event *e, struct pid *pid)
{
#pragma unroll
	for (int i = 1; i < INLINE_LEVELS; i++)
		if (i < e->level)
			read_number(&e->chain[i], pid, e->level - i);
}

/*
 * All other fields except seq, kind and those of one kind only; e is zeroed.
 * Whichever thread ends last, an exit is the process's and has its leader's
 * name.
 */
static __always_inline void fill(struct event *e, struct who *who)
{
	struct task_struct *t = who->task;
	bool is_of_thread = THREADS && (e->kind == KIND_THREAD_FORK ||
					e->kind == KIND_THREAD_EXIT);
	struct task_struct *named = is_of_thread ? t : who->leader;
	const struct cred *cred = named->real_cred;

	e->ts_ns = bpf_ktime_get_boot_ns();
	e->cpu = bpf_get_smp_processor_id();
	e->tgid = t->tgid;
	e->tid = t->pid;
	e->start_ns = who->leader->start_boottime;
	e->exec_id = who->leader->self_exec_id; /* the low bits of it */
	if (cred)
		e->uid = cred->uid_val;
	__builtin_memcpy(e->comm, named->comm, sizeof(e->comm));
	e->vtid = own_number(e, who);
	fill_chain(e, who->pid);
	fill_parent(e, who);
}

/*
 * The next PIECE_LEVELS of the chain, from index `from`, innermost first. Behind
 * the last one (p->len) stands the host's number. Without a branch: Linux 6.1
 * follows both ways through every round, and rejects what takes it too long.
 */
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
	for (u32 i = 0; i < PIECE_LEVELS; i++) {
		u32 is_there = (left + PIECE_LEVELS - 1 - i) / PIECE_LEVELS;

		read_number(&numbers[i], pid, (level - from - i) * is_there);
	}
}

/* The position in the names of a cgroup and of those above it. */
struct naming {
	struct kernfs_node *cgroup;
	u32 at; /* byte of its name */
};

/*
 * Who may make cgroups in this one, and so decides what they are called: its
 * owner, and in the higher bits whether others may write there. A directory of
 * root's has no attributes (kernfs_iattrs, fs/kernfs/inode.c): 0.
 */
static __always_inline u64 maker_in(struct kernfs_node *parent)
{
	struct kernfs_iattrs *attributes = READ(parent, iattr);
	u64 others = READ(parent, mode) & 022;

	return others << 32 | READ(attributes, ia_uid_val);
}

/*
 * The next piece of these names. Without a branch: the verifier follows every
 * path through a loop, as often as the loop can run.
 */
static __always_inline void fill_cgroup_piece(struct piece *p,
					      struct naming *naming)
{
	/* a call, so that it has no type: typed ones allow no arithmetic */
	struct kernfs_node *cgroup = READ(naming, cgroup);
	struct kernfs_node *parent = READ(cgroup, parent);
	int len = bpf_probe_read_kernel_str(p->bytes, PIECE_BYTES,
					    READ(cgroup, name) + naming->at);
	u64 more, same;

	if (len < 1) /* it could not be read */
		len = 1;
	more = (u32)len / PIECE_BYTES;
	same = -more; /* all bits or none */
	p->kind = KIND_PIECE_CGROUP;
	p->id = READ(cgroup, id);
	p->parent_id = READ(parent, id); /* 0 at the root: it has no parent */
	p->maker = maker_in(parent);
	p->len = len - 1;
	p->last = 1 - more;
	naming->cgroup = (void *)(((u64)cgroup & same) | ((u64)parent & ~same));
	naming->at = (naming->at + PIECE_BYTES - 1) & same;
}

/* The status as wait(2) will report it: wait_task_zombie(), kernel/exit.c. */
static __always_inline u32 exit_status(struct task_struct *t)
{
	struct signal_struct *signal = t->signal;

	if (signal->flags & SIGNAL_GROUP_EXIT)
		return signal->group_exit_code;
	return t->group_leader->exit_code;
}

static __always_inline bool is_last_thread(struct task_struct *t)
{
	return t->signal->live_counter == 0;
}

/*
 * Where a process stands in do_exit() (kernel/exit.c): live is 0 before the
 * exit event, and that can be seconds; exit_state is set, and other threads are
 * released, after it.
 */
static __always_inline u8 end_flags(struct task_struct *leader)
{
	struct signal_struct *signal = leader->signal;

	if (signal->live_counter)
		return 0;
	if (leader->exit_state && signal->nr_threads == 1)
		return FLAG_ENDING | FLAG_ENDED;
	return FLAG_ENDING;
}

static __always_inline u64 args_start(struct task_struct *t)
{
	struct mm_struct *mm = t->mm;

	return mm ? mm->arg_start : 0;
}

static __always_inline u64 args_end(struct task_struct *t)
{
	struct mm_struct *mm = t->mm;

	return mm ? mm->arg_end : 0;
}

static __always_inline const char *exec_name(struct linux_binprm *bprm)
{
	return bprm->filename;
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

/* The key of a note about who has sent a signal: to which process, and which. */
struct cause {
	u64 identity;
	u64 signal;
};

static __always_inline u32 thread_of(struct task_struct *t)
{
	return t->pid;
}

static __always_inline u64 memory_of(struct task_struct *t)
{
	return (u64)t->mm;
}

static __always_inline bool is_kernel_thread(struct task_struct *t)
{
	return t->flags & PF_KTHREAD;
}

/* Whether the OOM killer has chosen the process: mark_oom_victim(). */
static __always_inline bool is_oom_victim(struct task_struct *t)
{
	return t->signal->oom_mm != 0;
}

static __always_inline struct pair pair_of_task(struct task_struct *leader)
{
	struct pid *pid = leader->thread_pid;
	struct number own = {};
	struct upid upid;

	read_upid(&upid, pid, pid->level);
	fill_number(&own, &upid, pid->level);
	return (struct pair){ .gen = own.gen,
			      .cgroup_id = cgroup_of(leader)->id,
			      .inum = own.inum };
}

static __always_inline s32 siginfo_code(u64 info)
{
	struct kernel_siginfo *siginfo = (void *)info;

	return READ(siginfo, si_code);
}

/*
 * A negative si_code is of a process: kill(2), sigqueue(3), or what it made up
 * (rt_sigqueueinfo(2)); then the siginfo is on its kernel stack. Where it is
 * not, a POSIX timer or a USB device has made it (SI_TIMER, SI_ASYNCIO).
 */
static __always_inline bool is_by_process(struct task_struct *sender, u64 info,
					  s32 code)
{
	if (info == SEND_SIG_NOINFO)
		return true;
	if (info == SEND_SIG_PRIV || code > 0)
		return false;
	return (code != SI_TIMER && code != SI_ASYNCIO) ||
	       info - sender->stack < STACK_BYTES;
}

/*
 * Whether the sender is the first process of a namespace that the other is in,
 * and ends: then the kernel kills all in there (zap_pid_ns_processes()).
 */
static __always_inline bool ends_namespace(struct task_struct *sender,
					   struct task_struct *other)
{
	struct pid *own = sender->group_leader->thread_pid;
	struct upid first;

	if (!own->level)
		return false;
	read_upid(&first, own, own->level);
	return first.nr == 1 &&
	       number_inside(other->group_leader->thread_pid, own->level,
			     first.ns);
}

/* Who has sent a signal as kill(2) does, or PR_SET_PDEATHSIG, which threads mean. */
static __always_inline u8 sending(struct task_struct *sender)
{
	struct signal_struct *own = sender->signal;

	if (!(sender->flags & PF_EXITING))
		return SENDER_PROCESS;
	if (own->live_counter && !(own->flags & SIGNAL_GROUP_EXIT))
		return SENDER_PARENT_THREAD_ENDED;
	return SENDER_PARENT_ENDED;
}

/*
 * Whether it may be a process's to itself, though it looks like the kernel's:
 * rt_sigqueueinfo(2) lets it make up any si_code. What the kernel forces on a
 * thread (force_sig_info()) looks the same where it has the signals of faults.
 */
static __always_inline bool is_to_itself(struct task_struct *sender,
					 struct task_struct *to, u64 signal,
					 s32 code, bool is_to_thread)
{
	return code > 0 && sender->tgid == to->tgid &&
	       !(is_to_thread && signal < 32 && FORCED >> signal & 1);
}

/*
 * Who sends: with which siginfo, or what stands for one. A process that ends
 * may leave its terminal, which hangs up, or a process group that is orphaned
 * while it is stopped: to both the kernel sends SIGHUP (kernel/exit.c).
 */
static __always_inline u8 sender_of(struct task_struct *sender,
				    struct task_struct *to, u64 signal,
				    u64 info, s32 code, bool is_to_thread)
{
	bool is_ending = sender->flags & PF_EXITING;

	if (is_kernel_thread(sender))
		return SENDER_KERNEL;
	if (is_by_process(sender, info, code))
		return sending(sender);
	if (is_to_itself(sender, to, signal, code, is_to_thread))
		return SENDER_UNSURE;
	if (info == SEND_SIG_PRIV && signal == SIGHUP && is_ending)
		return SENDER_AT_EXIT;
	if (info == SEND_SIG_PRIV && signal == SIGKILL && is_ending &&
	    ends_namespace(sender, to))
		return SENDER_PIDNS_ENDED;
	return SENDER_KERNEL;
}

static __always_inline void fill_killer(struct killer *k,
					struct task_struct *leader)
{
	struct pid *pid = leader->thread_pid;
	struct number own = {};
	struct upid upid;

	k->tgid = leader->pid;
	k->start_ns = leader->start_boottime;
	k->cgroup_id = cgroup_of(leader)->id;
	__builtin_memcpy(k->comm, leader->comm, sizeof(k->comm));
	k->level = pid->level;
	read_upid(&upid, pid, k->level);
	fill_number(&own, &upid, k->level);
	k->inum = own.inum;
	k->gen = own.gen;
#pragma clang loop unroll(disable)
	for (u32 i = 0; i < MAX_LEVELS; i++) {
		if (i >= k->level)
			break;
		read_upid(&upid, pid, i + 1);
		k->numbers[i] = upid.nr;
	}
}

/* The letter that /proc/PID/stat shows: get_task_state(), fs/proc/array.c. */
static __always_inline u8 state_letter(struct task_struct *t)
{
	u32 state = t->state & 0x7f;
	u32 exit_state = t->exit_state;

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
