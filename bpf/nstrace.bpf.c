// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The probes: fork, exec, exit and moves between cgroups, each with the
 * process's number in every PID namespace; who sends the signals that end
 * processes; which cgroups are removed. Compiled by BCC; the constants come
 * as -D flags (tracer/kernel/loader_child.py): PAGE_SIZE, RING_BYTES,
 * CPUS, URGE_AFTER, RESERVE_FROM, SHARE_EVENTS, MAX_ARGS_BYTES,
 * LAST_ARGS_BYTES (of its last piece), THREADS, CGROUP_SUBSYS, HAVE_NS_ID, HAVE_GROUP_DEAD,
 * VICTIM_IS_TASK.
 *
 * These tracepoints run with preemption off (include/linux/tracepoint.h), so
 * an event and its pieces stand together on their CPU, and plain increments
 * of a CPU's own counters are exact.
 */
#include "task.h"

#define MAX_EXE_PIECES 33 /* PATH_MAX */
#define MAX_ARGS_PIECES ((MAX_ARGS_BYTES + PIECE_BYTES - 1) / PIECE_BYTES)
#define MAX_CHAIN_PIECES 4
#define MAX_CGROUP_DEPTH 32
#define MAX_NAME_PIECES (MAX_CGROUP_DEPTH + 8) /* most names take one */
#define MAX_MOVED 32768
#define MAX_FAILED_EXECS 4096
#define FAILED_NAME_BYTES 256
#define MAX_KILLERS 8192
#define MAX_KERNEL_KILLS 256

/*
 * The state of the reader, from wake[0]. look goes up whenever the reader
 * looks. Nothing is reported before the reader opens the trace, when all
 * programs are attached, nor after it has closed it: so the stream begins and
 * ends at one moment for all of them. No exec in between is without its fork.
 */
enum reader_state { READER_CLOSED, READER_AT_WORK, READER_ASLEEP, READER_URGED };

struct reader {
	u32 state;
	u32 look;
};

struct counts {
	u64 seq;
	u32 look; /* the reader's last look, as this CPU knows it, */
	u32 since_look; /* and what it has emitted since */
	u64 unnoted; /* failed execs that there was no room to note */
	u64 filtered[COUNTER_SLOTS];
	u64 attempts[COUNTER_SLOTS];
	u64 submitted[COUNTER_SLOTS];
	u64 failed[COUNTER_SLOTS];
	u64 throttled[COUNTER_SLOTS]; /* of those that failed */
} __attribute__((aligned(64))); /* no two CPUs share a cache line */

struct loss {
	u64 failed;
	u64 throttled; /* of those that failed */
};

/* Events of a pair, or of all, since a look of the reader. */
struct share {
	u32 look;
	u32 events;
};

/* What a process could not run. */
struct failed_exec {
	u32 error;
	u32 flags;
	char name[FAILED_NAME_BYTES];
};

/* The last SIGKILL of the kernel in a thread's context. */
struct kernel_kill {
	struct cause cause;
	u64 memory; /* of who was killed: its mm */
	u32 thread;
	u32 is_oom;
};

BPF_RINGBUF_OUTPUT(ring, RING_BYTES / PAGE_SIZE);
BPF_ARRAY(counts, struct counts, CPUS); /* the reader maps it */
BPF_TABLE("lru_hash", struct pair, u32, decisions, 16384);
BPF_TABLE("lru_hash", u64, u8, named_cgroups, 16384);
BPF_TABLE("percpu_hash", struct pair, struct loss, losses, 1024);
BPF_TABLE("lru_hash", struct pair, struct share, shares, 16384);
BPF_ARRAY(wake, struct reader, 1); /* the reader maps it */
BPF_HASH(moved, u64, u8, MAX_MOVED);
BPF_HASH(failed_execs, u64, struct failed_exec, MAX_FAILED_EXECS);
BPF_TABLE("lru_hash", struct cause, struct killer, killers, MAX_KILLERS);
BPF_TABLE("lru_hash", u64, struct kernel_kill, kernel_kills, MAX_KERNEL_KILLS);

enum decision { FOLLOW = 1, IGNORE = 2 }; /* not there: undecided */

static __always_inline struct counts *own_counts(void)
{
	int cpu = bpf_get_smp_processor_id();

	return counts.lookup(&cpu);
}

/*
 * Waking the reader costs the traced process more than all else here, so it is
 * woken when it sleeps, once when a CPU has filled its share of half the ring
 * since the reader looked (URGE_AFTER events), and never otherwise.
 */
static __always_inline u64 wakeup(struct counts *c, struct reader *reader)
{
	if (c->look != reader->look) {
		c->look = reader->look;
		c->since_look = 0;
	}
	c->since_look++;
	if (reader->state == READER_ASLEEP) {
		reader->state = READER_AT_WORK;
		return BPF_RB_FORCE_WAKEUP;
	}
	if (reader->state == READER_AT_WORK && c->since_look > URGE_AFTER) {
		reader->state = READER_URGED;
		return BPF_RB_FORCE_WAKEUP;
	}
	return BPF_RB_NO_WAKEUP;
}

static __always_inline struct piece *new_piece(u64 seq, u8 kind)
{
	struct piece *p = ring.ringbuf_reserve(sizeof(*p));

	if (!p)
		return NULL;
	__builtin_memset(p, 0, sizeof(*p));
	p->seq = seq;
	p->kind = kind;
	p->cpu = bpf_get_smp_processor_id();
	return p;
}

static __always_inline bool is_named(struct kernfs_node *cgroup)
{
	u64 id = READ(cgroup, id);

	return named_cgroups.lookup(&id);
}

static __always_inline struct kernfs_node *root_of(struct kernfs_node *cgroup)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_CGROUP_DEPTH; i++) {
		struct kernfs_node *parent = READ(cgroup, parent);

		if (!parent)
			break;
		cgroup = parent;
	}
	return cgroup;
}

/* Each hierarchy of cgroup v1 has ids of its own: those of others mean nothing. */
static __always_inline bool is_in_our_hierarchy(struct kernfs_node *cgroup)
{
	struct task_struct *t = (void *)bpf_get_current_task_btf();

	return root_of(cgroup) == root_of(cgroup_of(t));
}

static __always_inline void mark_cgroups(struct kernfs_node *cgroup)
{
	u8 yes = 1;

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_CGROUP_DEPTH && cgroup; i++) {
		u64 id = READ(cgroup, id);

		if (named_cgroups.lookup(&id))
			break;
		named_cgroups.update(&id, &yes);
		cgroup = READ(cgroup, parent);
	}
}

/*
 * Names of a cgroup and those above it, unless they were reported before. They
 * count as reported only when all went out: a child without its parents says
 * nothing. false: no room. Then the event must not go out either: the reader
 * would decide about a cgroup that it does not know.
 */
static __always_inline bool put_cgroups(u64 seq, struct kernfs_node *cgroup)
{
	struct naming naming = { .cgroup = cgroup };

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_NAME_PIECES && naming.cgroup; i++) {
		struct piece *p;

		if (is_named(naming.cgroup))
			break;
		p = new_piece(seq, KIND_PIECE_CGROUP);
		if (!p)
			return false;
		fill_cgroup_piece(p, &naming);
		ring.ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	}
	mark_cgroups(cgroup);
	return true;
}

/* The rest of a chain that is too deep for the event; false: no room. */
static __always_inline bool put_chain(struct event *head, struct pid *pid)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_CHAIN_PIECES; i++) {
		u32 from = INLINE_LEVELS + i * PIECE_LEVELS;
		struct piece *p;

		if (from >= head->level)
			break;
		p = new_piece(head->seq, KIND_PIECE_CHAIN);
		if (!p)
			return false;
		fill_chain_piece(p, pid, head->level, from);
		head->deep_len += p->len;
		ring.ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	}
	return true;
}

static __always_inline void put_exe(struct event *head, const char *name)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_EXE_PIECES; i++) {
		struct piece *p = new_piece(head->seq, KIND_PIECE_EXE);
		int len;

		if (!p) {
			head->flags |= FLAG_ARGS_TRUNCATED;
			break;
		}
		len = bpf_probe_read_kernel_str(p->bytes, PIECE_BYTES,
						name + head->exe_len);
		if (len > 1) {
			p->len = len - 1;
			head->exe_len += len - 1;
		}
		ring.ringbuf_submit(p, BPF_RB_NO_WAKEUP);
		if (len < PIECE_BYTES)
			break;
	}
}

static __always_inline void put_args(struct event *head, struct task_struct *t)
{
	u64 at = args_start(t);
	u64 end = args_end(t);

	head->args_total = end - at;
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_ARGS_PIECES; i++) {
		struct piece *p;
		u64 len = end - at;

		if (at >= end)
			break;
		p = new_piece(head->seq, KIND_PIECE_ARGS);
		if (!p)
			break;
		if (len > PIECE_BYTES)
			len = PIECE_BYTES;
		if (i == MAX_ARGS_PIECES - 1 && len > LAST_ARGS_BYTES)
			len = LAST_ARGS_BYTES;
		if (bpf_probe_read_user(p->bytes, len, (void *)at)) {
			ring.ringbuf_discard(p, BPF_RB_NO_WAKEUP);
			break;
		}
		p->len = len;
		head->args_len += len;
		at += len;
		ring.ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	}
	if (head->args_len < head->args_total)
		head->flags |= FLAG_ARGS_TRUNCATED;
}

static __always_inline struct pair pair_of(struct event *e)
{
	return (struct pair){ .gen = e->chain[0].gen,
			      .cgroup_id = e->cgroup_id,
			      .inum = e->chain[0].inum };
}

/* There was no room for an event; counted for its pair if that has a slot. */
static __always_inline int refused(struct counts *c, u32 kind,
				   struct pair *pair, bool throttled)
{
	struct loss none = {};
	struct loss *loss = losses.lookup_or_try_init(pair, &none);

	c->failed[kind]++;
	c->throttled[kind] += throttled;
	if (loss) {
		loss->failed++;
		loss->throttled += throttled;
	}
	return 0;
}

/*
 * Older BCCs have no map.ringbuf_query(). They make of map.ringbuf_output(args)
 * the call bpf_ringbuf_output(MAP, args), and compile that: so a macro will do.
 */
#define bpf_ringbuf_output(map, data, size, flags) bpf_ringbuf_query(map, flags)

static __always_inline u64 bytes_in_ring(void)
{
	return ring.ringbuf_output(NULL, 0, BPF_RB_AVAIL_DATA);
}

/* Count one more event of a pair since the reader's look; returns the count. */
static __always_inline u32 count_share(struct pair *pair, u32 look)
{
	struct share new = { .look = look }, *share;

	share = shares.lookup_or_try_init(pair, &new);
	if (!share)
		return 0;
	if (share->look != look) {
		share->look = look;
		share->events = 0;
	}
	return ++share->events;
}

/*
 * A flood in one container must not hide the others. While the reader keeps up
 * there is room for all, and any fixed rate would throttle bursts that the ring
 * can hold. So this begins when the ring is filled to RESERVE_FROM, because the
 * reader has fallen behind. From then on a pair of namespace and cgroup that
 * makes more than an eighth of all events is refused: quiet pairs find the rest
 * of the ring free. For each look of the reader a pair may always make
 * SHARE_EVENTS. Exits count, but are never refused here: a process without its
 * end would live for ever.
 */
static __always_inline bool is_flooding(u32 kind, struct pair *pair,
					struct reader *reader)
{
	struct pair all = {};
	u32 own, total;

	if (bytes_in_ring() < RESERVE_FROM)
		return false;
	own = count_share(pair, reader->look);
	total = count_share(&all, reader->look);
	return own > SHARE_EVENTS && own > total / 8 && kind != KIND_EXIT &&
	       kind != KIND_THREAD_EXIT;
}

/* NULL while the trace is not open. */
static __always_inline struct reader *open_reader(void)
{
	int zero = 0;
	struct reader *reader = wake.lookup(&zero);

	return reader && reader->state != READER_CLOSED ? reader : NULL;
}

/* The identity of a process: as identities() in tracer/stream/repair.py. */
static __always_inline u64 identity_of(struct task_struct *leader)
{
	return leader->start_boottime << 22 ^ leader->tgid;
}

/*
 * Decisions are about pairs of namespace and cgroup. A process that has moved
 * may have been reported before, whatever its pair is now, so all that it does
 * itself goes out: the reader decides. Its children follow their own pair.
 */
static __always_inline bool has_moved(struct who *who, u32 kind)
{
	u64 id = identity_of(who->leader);

	if (!moved.lookup(&id))
		return false;
	if (kind == KIND_EXIT)
		moved.delete(&id);
	return true;
}

/* Returns false where there is no room. */
static __always_inline bool mark_moved(struct who *who)
{
	u64 id = identity_of(who->leader);
	u8 yes = 1;

	return !moved.update(&id, &yes);
}

/* `most` bytes of it, from byte `from`; reported are those up to `end`. */
static __always_inline void put_killer_part(struct event *head,
					    struct killer *k, u32 from,
					    u32 most, u32 end)
{
	struct piece *p;

	if (from >= end)
		return;
	p = new_piece(head->seq, KIND_PIECE_KILLER);
	if (!p)
		return;
	bpf_probe_read_kernel(p->bytes, most, (char *)k + from);
	p->len = end - from < most ? end - from : most;
	head->killer_len += p->len;
	head->deep_len += p->len;
	ring.ringbuf_submit(p, BPF_RB_NO_WAKEUP);
}

/*
 * Who has sent the signal that ended the process, if that was noted. Where there
 * is no room, nobody is named: there will be none for the event either.
 */
static __always_inline void put_killer(struct event *head, struct who *who)
{
	struct cause cause = { .identity = identity_of(who->leader),
			       .signal = head->status & 0x7f };
	struct killer *k;
	u32 end;

	if (!cause.signal)
		return;
	k = killers.lookup(&cause);
	if (!k)
		return;
	if (cause.signal == SIGKILL && k->sender == SENDER_KERNEL &&
	    is_oom_victim(who->task)) /* nstrace_oom() is about to say so */
		k->sender = SENDER_OOM;
	end = __builtin_offsetof(struct killer, numbers) + 4 * k->level;
	if (k->sender != SENDER_UNSURE) {
		put_killer_part(head, k, 0, PIECE_BYTES, end);
		put_killer_part(head, k, PIECE_BYTES,
				sizeof(*k) - PIECE_BYTES, end);
	}
	killers.delete(&cause);
}

/*
 * Whether a PID namespace ends with this process, for everybody: the reader keeps
 * what it knows of a namespace until then.
 */
static __always_inline bool is_first_inside(struct event *head)
{
	return head->level && head->chain[0].nr == 1;
}

/*
 * One event: count it, filter it, write its pieces and itself. head has what
 * only this kind knows; exe is NULL except for an exec, failed or not.
 */
static __always_inline int emit(struct event *head, struct task_struct *t,
				const char *exe)
{
	u32 kind = head->kind & (COUNTER_SLOTS - 1), *decision;
	struct counts *c = own_counts();
	struct reader *reader = open_reader();
	bool is_known = false;
	struct who who;
	struct pair pair;
	struct event *e;

	if (!c || !reader)
		return 0;
	fill_pair(head, &who, t);
	pair = pair_of(head);
	decision = decisions.lookup(&pair);
	if (kind == KIND_EXIT || !decision || *decision == IGNORE)
		is_known = has_moved(&who, kind) || kind == KIND_MOVE;
	if (is_known)
		head->flags |= FLAG_MOVED;
	else if (decision && *decision == IGNORE &&
		 !(kind == KIND_EXIT && is_first_inside(head))) {
		c->filtered[kind]++;
		return 0;
	}
	head->seq = c->seq++;
	c->attempts[kind]++;
	if (kind == KIND_MOVE && !mark_moved(&who))
		return refused(c, kind, &pair, false);
	if (is_flooding(kind, &pair, reader))
		return refused(c, kind, &pair, true);
	if (!decision) {
		head->flags |= FLAG_UNDECIDED;
		if (!put_cgroups(head->seq, who.cgroup))
			return refused(c, kind, &pair, false);
	}
	if (!put_chain(head, who.pid))
		return refused(c, kind, &pair, false);
	if (kind == KIND_EXIT)
		put_killer(head, &who);
	if (exe) {
		put_exe(head, exe);
		if (kind == KIND_EXEC)
			put_args(head, t);
	}
	e = ring.ringbuf_reserve(sizeof(*e));
	if (!e)
		return refused(c, kind, &pair, false);
	__builtin_memcpy(e, head, sizeof(*e));
	fill(e, &who);
	c->submitted[kind]++;
	ring.ringbuf_submit(e, wakeup(c, reader));
	return 0;
}

/* Of an exit: whether it was the last thread of its process. */
static __always_inline bool has_ended(struct bpf_raw_tracepoint_args *ctx,
				      struct task_struct *t)
{
#ifdef HAVE_GROUP_DEAD
	return ctx->args[1] & 0xff;
#else
	return is_last_thread(t);
#endif
}

static __always_inline int filtered(u32 kind)
{
	struct counts *c = own_counts();

	if (c && open_reader())
		c->filtered[kind]++;
	return 0;
}

int nstrace_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *child = (void *)ctx->args[1];
	struct event head = { .kind = KIND_FORK,
			      .old_tid = process_of((void *)ctx->args[0]) };

	if (is_thread(child))
		head.kind = KIND_THREAD_FORK;
	if (!THREADS && head.kind == KIND_THREAD_FORK)
		return filtered(KIND_THREAD_FORK);
	return emit(&head, child, NULL);
}

int nstrace_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *t = (void *)ctx->args[0];
	struct event head = { .kind = KIND_EXEC, .old_tid = ctx->args[1] };
	const char *exe = exec_name((void *)ctx->args[2]);

	return emit(&head, t, exe);
}

/*
 * Execs that fail. No tracepoint reports them but those of all system calls,
 * which put every task on the slow path; so these programs stand behind the
 * calls themselves (fexit). They can be preempted there, so they may neither
 * count nor write into the ring as the others do: they leave a note, and what
 * the process does next reports it.
 *
 * The note is of the last exec that failed. Looking a command up along PATH
 * makes many of them and a good one in the end: then nothing is reported.
 */
static __always_inline bool is_search(u32 error)
{
	return error == ENOENT || error == ENOTDIR || error == EACCES;
}

static __always_inline int filtered_failure(struct counts *c)
{
	__sync_fetch_and_add(&c->filtered[KIND_EXEC_FAILED], 1);
	return 0;
}

/* at: where the registers of the call have the name, in user memory. */
static __always_inline int note_failed(struct bpf_raw_tracepoint_args *ctx,
				       u32 at)
{
	s64 result = ctx->args[1];
	struct failed_exec new = { .error = -result }, *old;
	struct counts *c = own_counts();
	u64 id, name = 0;
	int len;

	if (result >= 0 || !c || !open_reader())
		return 0;
	id = identity_of(current_leader());
	old = failed_execs.lookup(&id);
	if (old && is_search(new.error) && !is_search(old->error))
		return filtered_failure(c);
	if (old)
		filtered_failure(c);
	bpf_probe_read_kernel(&name, sizeof(name), (char *)ctx->args[0] + at);
	len = bpf_probe_read_user_str(new.name, sizeof(new.name), (void *)name);
	if (len == sizeof(new.name)) /* with its end, or without */
		new.flags = FLAG_ARGS_TRUNCATED;
	if (failed_execs.update(&id, &new))
		__sync_fetch_and_add(&c->unnoted, 1);
	return 0;
}

int nstrace_execve(struct bpf_raw_tracepoint_args *ctx)
{
	return note_failed(ctx, FIRST_ARGUMENT);
}

int nstrace_execveat(struct bpf_raw_tracepoint_args *ctx)
{
	return note_failed(ctx, SECOND_ARGUMENT);
}

static __always_inline int report_failed(struct task_struct *t, u64 *id,
					 struct failed_exec *failed)
{
	struct event head = { .kind = KIND_EXEC_FAILED,
			      .flags = failed->flags,
			      .status = failed->error };
	char *typed = failed->name, *name;

	/* without a type: that of a map's value allows no arithmetic */
	bpf_probe_read_kernel(&name, sizeof(name), &typed);
	emit(&head, t, name);
	failed_execs.delete(id);
	return 0;
}

int nstrace_recovered(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *t = (void *)ctx->args[0];
	u64 id = identity_of(leader_of(t));
	struct failed_exec *failed = failed_execs.lookup(&id);
	struct counts *c = own_counts();

	if (!failed || !c)
		return 0;
	if (!is_search(failed->error))
		return report_failed(t, &id, failed);
	failed_execs.delete(&id);
	return filtered_failure(c);
}

int nstrace_gave_up(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *t = (void *)ctx->args[0];
	u64 id = identity_of(leader_of(t));
	struct failed_exec *failed = failed_execs.lookup(&id);

	if (!failed || !has_ended(ctx, t))
		return 0;
	return report_failed(t, &id, failed);
}

int nstrace_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *t = (void *)ctx->args[0];
	struct event head = { .kind = KIND_EXIT };
	bool last = has_ended(ctx, t);

	if (!last)
		head.kind = KIND_THREAD_EXIT;
	if (!THREADS && !last)
		return filtered(KIND_THREAD_EXIT);
	head.status = exit_status(t);
	return emit(&head, t, NULL);
}

/*
 * A process has come into another cgroup: cgroup_attach_task()
 * (kernel/cgroup/cgroup.c) reports each hierarchy when it is done, single
 * threads and exited processes as well.
 */
int nstrace_move(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup *to = (void *)ctx->args[0];
	struct task_struct *t = (void *)ctx->args[2];
	struct event head = { .kind = KIND_MOVE };

	if (is_thread(t) || is_last_thread(t) || to->kn != cgroup_of(t))
		return 0;
	return emit(&head, t, NULL);
}

/*
 * A cgroup was removed: nobody is in it (cgroup_destroy_locked(),
 * kernel/cgroup/cgroup.c), nobody will be, and its id comes never again. So the
 * reader may forget what it was told of it. A hint, which wakes nobody; where
 * there is no room for it, the reader remembers for longer.
 */
int nstrace_rmdir(struct bpf_raw_tracepoint_args *ctx)
{
	struct cgroup *removed = (void *)ctx->args[0];
	struct kernfs_node *cgroup = removed->kn;
	u64 id = cgroup->id;
	struct piece *p;

	if (!open_reader() || !is_in_our_hierarchy(cgroup) ||
	    named_cgroups.delete(&id)) /* it was not told of this one */
		return 0;
	p = new_piece(0, KIND_PIECE_REMOVED);
	if (!p)
		return 0;
	p->id = id;
	ring.ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	return 0;
}

/*
 * Who sends the signals that end processes. A signal can be sent in an interrupt,
 * and the lock of its target's signals is held: so these programs write nothing
 * into the ring and count nothing. They leave a note by target and signal, which
 * the exit reports.
 *
 * The note is of the last one that was delivered: as long as a signal is pending
 * the kernel drops others with its number, and SIGKILL takes effect at once. But
 * a signal can be pending to a process and to each thread of it, and a real-time
 * signal any number of times: where others may have been sent before, by
 * somebody else, it is not known which of them is taken, nor which are left.
 */
#define BIT(signal) (1U << (signal))
#define HARMLESS                                                               \
	(BIT(17) /* SIGCHLD */ | BIT(18) /* SIGCONT */ | BIT(19) /* SIGSTOP */ \
	 | BIT(20) /* SIGTSTP */ | BIT(21) /* SIGTTIN */                       \
	 | BIT(22) /* SIGTTOU */ | BIT(23) /* SIGURG */                        \
	 | BIT(28) /* SIGWINCH */)
#define SIGRTMIN 32
#define SEVERAL_THREADS ~0U
#define TRACE_SIGNAL_DELIVERED 0 /* include/trace/events/signal.h */
#define TRACE_SIGNAL_LOSE_INFO 4

static __always_inline bool is_harmless(u32 signal)
{
	return signal < SIGRTMIN && HARMLESS >> signal & 1;
}

/* Whether the reader does not want to know how the process ends. */
static __always_inline bool is_ignored(struct task_struct *leader)
{
	struct pair pair = pair_of_task(leader);
	u32 *decision = decisions.lookup(&pair);
	u64 id = identity_of(leader);

	return decision && *decision == IGNORE && !moved.lookup(&id);
}

static __always_inline bool is_same_sender(struct killer *a, struct killer *b)
{
	return a->sender == b->sender && a->tgid == b->tgid &&
	       a->start_ns == b->start_ns;
}

static __always_inline void note_killer(struct cause *cause, struct killer *new)
{
	struct killer *old = killers.lookup(cause);

	if (old && (old->sender == SENDER_UNSURE ||
		    (!is_same_sender(old, new) &&
		     (cause->signal >= SIGRTMIN || old->thread != new->thread))))
		new->sender = SENDER_UNSURE;
	else if (old && old->thread != new->thread)
		new->thread = SEVERAL_THREADS;
	killers.update(cause, new);
}

/*
 * The OOM killer's: it kills first, and reports its choice right behind that, in
 * the same thread. Then it kills who shares the memory (__oom_kill_process()).
 */
static __always_inline void note_kernel_kill(struct cause *cause,
					     struct killer *new,
					     struct task_struct *to)
{
	u64 by = bpf_get_current_pid_tgid();
	struct kernel_kill kill = { .cause = *cause,
				    .memory = memory_of(to),
				    .thread = thread_of(to) };
	struct kernel_kill *before = kernel_kills.lookup(&by);

	if (before && before->is_oom && before->memory == kill.memory)
		new->sender = SENDER_OOM;
	else
		kernel_kills.update(&by, &kill);
}

int nstrace_signal(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *to = (void *)ctx->args[2], *sender, *leader;
	u32 signal = ctx->args[0], result = ctx->args[4];
	struct cause cause = { .signal = signal };
	struct killer new = {};
	u64 info = 0;

	if (is_harmless(signal) || (result != TRACE_SIGNAL_DELIVERED &&
				    result != TRACE_SIGNAL_LOSE_INFO))
		return 0;
	leader = leader_of(to);
	if (!open_reader() || is_kernel_thread(to) || is_ignored(leader))
		return 0;
	/* a call, so that it has no type: typed ones allow no arithmetic */
	bpf_probe_read_kernel(&info, sizeof(info), &ctx->args[1]);
	if (info > SEND_SIG_PRIV)
		new.code = siginfo_code(info);
	sender = (void *)bpf_get_current_task_btf();
	cause.identity = identity_of(leader);
	new.thread = ctx->args[3] ? 0 : thread_of(to);
	new.sender = sender_of(sender, to, signal, info, new.code, new.thread);
	if (!is_kernel_thread(sender) && new.sender != SENDER_AT_EXIT &&
	    (new.sender != SENDER_KERNEL || signal == SIGKILL))
		fill_killer(&new, leader_of(sender));
	if (new.sender == SENDER_KERNEL && signal == SIGKILL)
		note_kernel_kill(&cause, &new, to);
	note_killer(&cause, &new);
	return 0;
}

int nstrace_oom(struct bpf_raw_tracepoint_args *ctx)
{
#ifdef VICTIM_IS_TASK
	u32 victim = thread_of((void *)ctx->args[0]);
#else
	u32 victim = ctx->args[0];
#endif
	u64 by = bpf_get_current_pid_tgid();
	struct kernel_kill *kill = kernel_kills.lookup(&by);
	struct cause cause;
	struct killer *k;

	if (!kill || kill->thread != victim)
		return 0;
	kill->is_oom = 1;
	cause = kill->cause;
	k = killers.lookup(&cause);
	if (k && k->sender == SENDER_KERNEL)
		k->sender = SENDER_OOM;
	return 0;
}

/*
 * The existing processes: one event each, reported as above, but written to the
 * iterator's file. The kernel takes back and repeats all of a task whose output
 * did not fit (bpf_seq_read(), kernel/bpf/bpf_iter.c), so cgroups count as
 * reported only after their event.
 */
static __always_inline bool write_cgroups(void *seq, struct kernfs_node *cgroup)
{
	struct naming naming = { .cgroup = cgroup };

#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_NAME_PIECES && naming.cgroup; i++) {
		struct piece p = {};

		if (is_named(naming.cgroup))
			break;
		fill_cgroup_piece(&p, &naming);
		if (bpf_seq_write(seq, &p, sizeof(p)))
			return false;
	}
	return true;
}

static __always_inline bool write_chain(void *seq, struct event *e,
					struct pid *pid)
{
#pragma clang loop unroll(disable)
	for (int i = 0; i < MAX_CHAIN_PIECES; i++) {
		u32 from = INLINE_LEVELS + i * PIECE_LEVELS;
		struct piece p = {};

		if (from >= e->level)
			break;
		fill_chain_piece(&p, pid, e->level, from);
		e->deep_len += p.len;
		if (bpf_seq_write(seq, &p, sizeof(p)))
			return false;
	}
	return true;
}

int nstrace_tasks(void *ctx)
{
	void *seq = iter_seq(ctx);
	struct task_struct *t = iter_task(ctx);
	struct event e = { .kind = KIND_SNAPSHOT };
	struct who who;

	if (!t || is_thread(t))
		return 0;
	fill_pair(&e, &who, t);
	fill(&e, &who);
	e.state = state_letter(t);
	e.flags |= end_flags(t);
	if (write_cgroups(seq, who.cgroup) && write_chain(seq, &e, who.pid) &&
	    !bpf_seq_write(seq, &e, sizeof(e)))
		mark_cgroups(who.cgroup);
	return 0;
}
