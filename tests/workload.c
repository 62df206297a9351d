// SPDX-License-Identifier: Apache-2.0
/*
 * Makes processes whose numbers and ends are known without nstrace. A process
 * reports its own PID over an AF_UNIX socket, where the kernel adds the PID
 * that the receiver sees (tests/oracle.py). What makes many processes prints
 * a ledger of them: one JSON object.
 *
 *	pairs SOCK N seq|exec|burst [BASE] [nowait]
 *	pair SOCK INDEX CODE [nowait]
 *	nest DEPTH SOCK
 *	nest-kill DEPTH SOCK
 *	kill SOCK process|group|thread|from-thread|queue|forged SIGNAL PID
 *	thread-exec|vfork-exec PATH [ARG...]
 *	changes SOCK UID NAME
 *	exec-fail
 *	leader-first [CODE]
 *	other-thread-last TASKS UID [CODE]
 *	threads-exit N [CODE]
 *	signal NUMBER
 *	core
 *	args-big BYTES
 *	eat [shared]
 *	noop [ARG...]
 *	storm N WORKERS [exec]
 *	crowd N
 *	churn SOCK N
 *	reuse SOCK N NUMBER
 *	round N
 *	threads-storm N THREADS
 *	uring N
 *	bomb
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	CODES = 200,	/* exit codes of pairs: 0..199, ours are above */
	FAILED = 222,	/* something that was to work did not */
	MISSING = 9,	/* exec-fail */
	MAX_THREADS = 1024,
};

/* What a process says of itself; tests/oracle.py reads the same layout. */
struct report {
	uint32_t vtgid;
	uint32_t parent_vtgid;
	uint32_t index;
	uint32_t waits; /* for the answer: it is there until then */
	uint64_t boottime_ns;
};

struct ledger {
	unsigned int forks;
	unsigned int execs;
	unsigned int codes[256];
	unsigned int signals[128];
};

static unsigned int number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (!*text || *end || value > INT32_MAX)
		errx(FAILED, "not a number: %s", text);
	return value;
}

/* The path that this program was started by: its name becomes comm at exec. */
static const char *self(void)
{
	return (const char *)getauxval(AT_EXECFN);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (sock < 0)
		err(FAILED, "socket");
	if (strlen(path) >= sizeof(address.sun_path))
		errx(FAILED, "path too long: %s", path);
	strcpy(address.sun_path, path);
	if (connect(sock, (struct sockaddr *)&address, sizeof(address)))
		err(FAILED, "connect %s", path);
	return sock;
}

/* The kernel takes our credentials here: we may be gone when they are read. */
static int send_report(const char *path, unsigned int index, bool waits)
{
	int sock = connect_to(path);
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	struct report report = {
		.vtgid = getpid(),
		.parent_vtgid = getppid(),
		.index = index,
		.waits = waits,
		.boottime_ns = now.tv_sec * 1000000000ULL + now.tv_nsec,
	};
	if (send(sock, &report, sizeof(report), MSG_NOSIGNAL) != sizeof(report))
		err(FAILED, "send");
	return sock;
}

static void await_answer(int sock)
{
	char answer;

	if (recv(sock, &answer, sizeof(answer), 0) != sizeof(answer))
		errx(FAILED, "no answer");
}

static void report_and_exit(const char *path, unsigned int index,
			    unsigned int code, bool wait)
{
	int sock = send_report(path, index, wait);

	if (wait)
		await_answer(sock);
	_exit(code);
}

static pid_t fork_counted(struct ledger *ledger)
{
	pid_t child = fork();

	if (child < 0)
		err(FAILED, "fork");
	ledger->forks++;
	return child;
}

static void count_end(struct ledger *ledger, int status)
{
	if (WIFSIGNALED(status))
		ledger->signals[WTERMSIG(status)]++;
	else
		ledger->codes[WEXITSTATUS(status)]++;
}

static void await_child(struct ledger *ledger)
{
	int status;

	if (wait(&status) < 0)
		err(FAILED, "wait");
	count_end(ledger, status);
}

static void print_counts(const char *name, const unsigned int *counts,
			 unsigned int n)
{
	const char *separator = "";

	printf(", \"%s\": {", name);
	for (unsigned int i = 0; i < n; i++) {
		if (!counts[i])
			continue;
		printf("%s\"%u\": %u", separator, i, counts[i]);
		separator = ", ";
	}
	printf("}");
}

static void print_ledger(const struct ledger *ledger)
{
	printf("{\"vtgid\": %d, \"forks\": %u, \"execs\": %u", getpid(),
	       ledger->forks, ledger->execs);
	print_counts("exits", ledger->codes, 256);
	print_counts("signals", ledger->signals, 128);
	printf("}\n");
}

static void exec_pair(const char *path, unsigned int index, unsigned int code,
		      bool wait)
{
	char index_text[16], code_text[16];

	snprintf(index_text, sizeof(index_text), "%u", index);
	snprintf(code_text, sizeof(code_text), "%u", code);
	execl(self(), self(), "pair", path, index_text, code_text,
	      wait ? NULL : "nowait", NULL);
	err(FAILED, "exec %s", self());
}

static bool is_to_wait(int argc, char **argv, int at)
{
	return argc <= at || strcmp(argv[at], "nowait");
}

static int pairs(int argc, char **argv)
{
	struct ledger ledger = {};
	const char *path = argv[0], *mode = argv[2];
	unsigned int n = number(argv[1]), base = argc > 3 ? number(argv[3]) : 0;
	bool wait = is_to_wait(argc, argv, 4);
	bool exec = !strcmp(mode, "exec"), burst = !strcmp(mode, "burst");

	if (!exec && !burst && strcmp(mode, "seq"))
		errx(FAILED, "no such mode: %s", mode);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int code = (base + i) % CODES;

		ledger.execs += exec;
		if (!fork_counted(&ledger)) {
			if (exec)
				exec_pair(path, i, code, wait);
			report_and_exit(path, i, code, wait);
		}
		if (!burst)
			await_child(&ledger);
	}
	for (unsigned int i = 0; burst && i < n; i++)
		await_child(&ledger);
	print_ledger(&ledger);
	return 0;
}

static int pair(int argc, char **argv)
{
	report_and_exit(argv[0], number(argv[1]), number(argv[2]),
			is_to_wait(argc, argv, 3));
	return FAILED;
}

static void kill_a_child(void)
{
	pid_t child = fork();

	if (child < 0)
		err(FAILED, "fork");
	if (!child)
		pause();
	if (kill(child, SIGKILL) || waitpid(child, NULL, 0) != child)
		err(FAILED, "kill");
}

static void do_nothing(void)
{
}

/* All levels are alive until the innermost has its answer. */
static int nest_level(unsigned int level, unsigned int depth, const char *path,
		      void (*innermost)(void))
{
	struct ledger below = {};
	int sock = send_report(path, level, true);

	if (level == depth) {
		await_answer(sock);
		innermost();
		return 0;
	}
	if (unshare(CLONE_NEWPID))
		err(FAILED, "unshare at level %u", level);
	if (!fork_counted(&below))
		_exit(nest_level(level + 1, depth, path, innermost));
	await_child(&below);
	return below.codes[0] == 1 ? 0 : FAILED;
}

static int nest_kill(int argc, char **argv)
{
	(void)argc;
	return nest_level(0, number(argv[0]), argv[1], kill_a_child);
}

static int nest(int argc, char **argv)
{
	unsigned int depth = number(argv[0]);
	int failed = nest_level(0, depth, argv[1], do_nothing);
	struct ledger ledger = { .forks = depth, .codes = { [0] = depth } };

	(void)argc;
	if (!failed)
		print_ledger(&ledger);
	return failed;
}

static void *exec_in_thread(void *argv)
{
	execv(((char **)argv)[0], argv);
	err(FAILED, "exec %s", ((char **)argv)[0]);
}

static int thread_exec(int argc, char **argv)
{
	pthread_t thread;

	(void)argc;
	if (pthread_create(&thread, NULL, exec_in_thread, argv))
		errx(FAILED, "pthread_create");
	pthread_join(thread, NULL);
	return FAILED;
}

static int vfork_exec(int argc, char **argv)
{
	int status;
	pid_t child = vfork();

	(void)argc;
	if (child < 0)
		err(FAILED, "vfork");
	if (!child) {
		execv(argv[0], argv);
		_exit(FAILED);
	}
	if (waitpid(child, &status, 0) != child)
		err(FAILED, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
}

/*
 * A grandchild that, without an exec, is taken over by another parent and takes
 * another user and name; then it reports itself, and waits.
 */
static int changes(int argc, char **argv)
{
	pid_t middle = fork();
	int status;

	(void)argc;
	if (middle < 0)
		err(FAILED, "fork");
	if (middle == 0) {
		pid_t parent = getpid(), child = fork();

		if (child < 0)
			err(FAILED, "fork");
		if (child > 0)
			_exit(0);
		while (getppid() == parent)
			sched_yield();
		if (setuid(number(argv[1])))
			err(FAILED, "setuid");
		prctl(PR_SET_NAME, argv[2]);
		report_and_exit(argv[0], 0, 0, true);
	}
	if (waitpid(middle, &status, 0) != middle || status)
		errx(FAILED, "the one in between failed");
	return 0;
}

static int exec_fail(int argc, char **argv)
{
	char *const missing[] = { "/nowhere/to/be/found", NULL };

	(void)argc, (void)argv;
	execv(missing[0], missing);
	return MISSING;
}

/* Not by its number: /proc may be another namespace's. */
static char leader_state(void)
{
	char line[512] = "", *after_comm;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(FAILED, "/proc/self/stat");
	if (read(fd, line, sizeof(line) - 1) < 0)
		err(FAILED, "read /proc/self/stat");
	close(fd);
	after_comm = strrchr(line, ')');
	return after_comm ? after_comm[2] : 0;
}

static void *exit_after_leader(void *code)
{
	while (leader_state() != 'Z')
		usleep(1000);
	_exit((intptr_t)code); /* exit_group: the code of the process */
}

static int leader_first(int argc, char **argv)
{
	intptr_t code = argc > 0 ? number(argv[0]) : 7;
	pthread_t thread;

	if (pthread_create(&thread, NULL, exit_after_leader, (void *)code))
		errx(FAILED, "pthread_create");
	syscall(SYS_exit, 1); /* this thread alone */
	return FAILED;
}

struct otherness {
	int tasks;
	uid_t uid;
	intptr_t code;
};

static void *be_other_and_last(void *raw)
{
	struct otherness *other = raw;

	if (write(other->tasks, "0", 1) != 1) /* this thread */
		err(FAILED, "moving a thread");
	prctl(PR_SET_NAME, "other-thread");
	syscall(SYS_setuid, other->uid); /* of this thread alone */
	return exit_after_leader((void *)other->code);
}

/* The thread that ends last has another cgroup, name and user. */
static int other_thread_last(int argc, char **argv)
{
	static struct otherness other;
	pthread_t thread;

	other.tasks = open(argv[0], O_WRONLY | O_CLOEXEC);
	if (other.tasks < 0)
		err(FAILED, "%s", argv[0]);
	other.uid = number(argv[1]);
	other.code = argc > 2 ? number(argv[2]) : 7;
	printf("%d\n", getpid());
	fflush(stdout);
	if (pthread_create(&thread, NULL, be_other_and_last, &other))
		errx(FAILED, "pthread_create");
	syscall(SYS_exit, 1); /* this thread alone */
	return FAILED;
}

static atomic_uint still_coming;

/* Without exit_group, so that several threads can find each other gone. */
static void exit_together(long code)
{
	atomic_fetch_sub(&still_coming, 1);
	while (atomic_load(&still_coming))
		sched_yield();
	syscall(SYS_exit, code);
}

static void *exit_thread(void *unused)
{
	exit_together(1);
	return unused;
}

/*
 * Whose code becomes the process's depends on the kernel: the leader's, or that
 * of who went last (synchronize_group_exit()). Compare with the wait status.
 */
static int threads_exit(int argc, char **argv)
{
	unsigned int n = number(argv[0]);
	long code = argc > 1 ? number(argv[1]) : 0;
	pthread_t thread;

	if (n > MAX_THREADS)
		errx(FAILED, "more than %d threads", MAX_THREADS);
	atomic_store(&still_coming, n + 1);
	for (unsigned int i = 0; i < n; i++)
		if (pthread_create(&thread, NULL, exit_thread, NULL))
			errx(FAILED, "pthread_create");
	exit_together(code);
	return FAILED;
}

/* Not as PID 1 of a namespace, which ignores its own signals. */
static int raise_signal(int argc, char **argv)
{
	int nr = number(argv[0]);
	sigset_t all;

	(void)argc;
	signal(nr, SIG_DFL);
	sigfillset(&all);
	sigprocmask(SIG_UNBLOCK, &all, NULL);
	raise(nr);
	errx(FAILED, "signal %d has not ended us", nr);
}

struct sending {
	const char *how;
	int signal;
	pid_t to;
};

/* forged: as if a timer of the target's had sent it. */
static void *send_signal(void *raw)
{
	struct sending *sending = raw;
	const char *how = sending->how;
	siginfo_t info = { .si_signo = sending->signal, .si_code = SI_TIMER };
	int failed;

	if (!strcmp(how, "group"))
		failed = kill(-sending->to, sending->signal);
	else if (!strcmp(how, "thread"))
		failed = syscall(SYS_tgkill, sending->to, sending->to,
				 sending->signal);
	else if (!strcmp(how, "queue"))
		failed = sigqueue(sending->to, sending->signal,
				  (union sigval){});
	else if (!strcmp(how, "forged"))
		failed = syscall(SYS_rt_sigqueueinfo, sending->to,
				 sending->signal, &info);
	else
		failed = kill(sending->to, sending->signal);
	if (failed)
		err(FAILED, "%s %d", how, sending->to);
	return NULL;
}

static int kill_by(int argc, char **argv)
{
	struct sending sending = { argv[1], number(argv[2]), number(argv[3]) };
	pthread_t thread;

	(void)argc;
	await_answer(send_report(argv[0], 0, true));
	if (strcmp(sending.how, "from-thread"))
		send_signal(&sending);
	else if (pthread_create(&thread, NULL, send_signal, &sending) ||
		 pthread_join(thread, NULL))
		errx(FAILED, "pthread_create");
	return 0;
}

static int core(int argc, char **argv)
{
	struct rlimit limit;

	(void)argc, (void)argv;
	if (getrlimit(RLIMIT_CORE, &limit))
		err(FAILED, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_CORE, &limit))
		err(FAILED, "setrlimit");
	abort();
}

static int eat_memory(void *unused)
{
	(void)unused;
	for (;;) {
		char *more = malloc(1 << 20);

		if (!more)
			errx(FAILED, "malloc");
		memset(more, 'x', 1 << 20);
	}
}

/* Until the kernel ends it. shared: by a process that shares our memory. */
static int eat(int argc, char **argv)
{
	static char stack[1 << 16];
	pid_t child;

	if (argc < 1 || strcmp(argv[0], "shared"))
		return eat_memory(NULL);
	child = clone(eat_memory, stack + sizeof(stack), CLONE_VM | SIGCHLD,
		      NULL);
	if (child < 0 || waitpid(child, NULL, 0) < 0)
		err(FAILED, "clone");
	pause();
	return FAILED;
}

/* The odd ones first: the end is what gets cut off. */
static int args_big(int argc, char **argv)
{
	unsigned int n = number(argv[0]);
	char *big = malloc(n + 1);

	(void)argc;
	if (!big)
		err(FAILED, "malloc");
	memset(big, 'x', n);
	big[n] = 0;
	execl(self(), self(), "noop", "with some spaces", "new\nline",
	      "\033[31mred\033[0m", "\xff\xfe\x80", "", big, NULL);
	err(FAILED, "exec with %u bytes", n);
}

static int noop(int argc, char **argv)
{
	(void)argc, (void)argv;
	return 0;
}

/* Each worker's ledger comes back in memory that all share. */
static struct ledger *shared_ledgers(unsigned int n)
{
	void *memory = mmap(NULL, n * sizeof(struct ledger),
			    PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(FAILED, "mmap");
	return memory;
}

static void add(struct ledger *to, const struct ledger *from)
{
	to->forks += from->forks;
	to->execs += from->execs;
	for (int i = 0; i < 256; i++)
		to->codes[i] += from->codes[i];
	for (int i = 0; i < 128; i++)
		to->signals[i] += from->signals[i];
}

/* Where a fork is refused (pids.max) the storm goes on with those that are. */
static void storm_of_one(struct ledger *ledger, unsigned int n, bool exec)
{
	for (unsigned int i = 0; i < n; i++) {
		pid_t child = exec ? vfork() : fork();

		if (child < 0) {
			if (errno != EAGAIN)
				err(FAILED, "fork");
			continue;
		}
		if (!child) {
			if (exec)
				execl(self(), self(), "noop", NULL);
			_exit(exec ? FAILED : i % CODES);
		}
		ledger->forks++;
		ledger->execs += exec;
		await_child(ledger);
	}
}

/* At full speed, N processes in all, one after the other in each worker. */
static int storm(int argc, char **argv)
{
	unsigned int n = number(argv[0]), workers = number(argv[1]);
	bool exec = argc > 2 && !strcmp(argv[2], "exec");
	struct ledger *ledgers = shared_ledgers(workers);
	struct ledger all = {};

	for (unsigned int i = 0; i < workers; i++) {
		if (!fork_counted(&all)) {
			storm_of_one(&ledgers[i], n / workers, exec);
			_exit(0);
		}
	}
	for (unsigned int i = 0; i < workers; i++)
		await_child(&all);
	for (unsigned int i = 0; i < workers; i++)
		add(&all, &ledgers[i]);
	print_ledger(&all);
	return 0;
}

static void await_end_of_input(void)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
}

/* N children alive at once, told by a line; they end with us, at the end of input. */
static int crowd(int argc, char **argv)
{
	struct ledger ledger = {};
	unsigned int n = number(argv[0]);

	(void)argc;
	for (unsigned int i = 0; i < n; i++) {
		if (!fork_counted(&ledger)) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
	}
	print_ledger(&ledger);
	fflush(stdout);
	await_end_of_input();
	return 0;
}

/* PID namespaces one after the other, each with one process that reports. */
static int churn(int argc, char **argv)
{
	struct ledger ledger = {};
	unsigned int n = number(argv[1]);

	(void)argc;
	for (unsigned int i = 0; i < n; i++) {
		int status;
		pid_t maker = fork_counted(&ledger);

		if (!maker) {
			if (unshare(CLONE_NEWPID))
				err(FAILED, "unshare");
			if (!fork())
				report_and_exit(argv[0], i, i % CODES, true);
			wait(&status);
			_exit(WEXITSTATUS(status));
		}
		await_child(&ledger);
	}
	print_ledger(&ledger);
	return 0;
}

static void write_sysctl(const char *path, unsigned int value)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", value);
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, len) != len)
		err(FAILED, "%s", path);
	close(fd);
}

/* N processes one after the other, all with the same number in here. */
static int reuse(int argc, char **argv)
{
	struct ledger ledger = {};
	unsigned int n = number(argv[1]), nr = number(argv[2]);

	(void)argc;
	for (unsigned int i = 0; i < n; i++) {
		write_sysctl("/proc/sys/kernel/ns_last_pid", nr - 1);
		if (!fork_counted(&ledger))
			report_and_exit(argv[0], i, i % CODES, false);
		await_child(&ledger);
	}
	print_ledger(&ledger);
	return 0;
}

/* N processes round the ten numbers 300 to 309; Linux 6.14 has a pid_max in each namespace. */
static int round_and_round(int argc, char **argv)
{
	struct ledger ledger = {};

	(void)argc;
	write_sysctl("/proc/sys/kernel/pid_max", 310);
	storm_of_one(&ledger, number(argv[0]), false);
	print_ledger(&ledger);
	return 0;
}

/* N processes one after the other whose threads all exit at once. */
static int threads_storm(int argc, char **argv)
{
	struct ledger ledger = {};
	unsigned int n = number(argv[0]);

	for (unsigned int i = 0; i < n; i++) {
		if (!fork_counted(&ledger))
			threads_exit(argc - 1, argv + 1);
		await_child(&ledger);
	}
	print_ledger(&ledger);
	return 0;
}

/*
 * Everyone forks as fast as they may, until all are killed. Who may not any
 * more ends, but for the first: under a limit (pids.max) the others go on.
 */
static int bomb(int argc, char **argv)
{
	pid_t first = getpid();

	(void)argc, (void)argv;
	signal(SIGCHLD, SIG_IGN);
	for (;;)
		if (fork() < 0 && getpid() != first)
			_exit(0);
	return FAILED;
}

/* N operations, each in a worker thread of io_uring, which is never forked. */
static int uring(int argc, char **argv)
{
	struct io_uring_params params = {};
	unsigned int n = number(argv[0]);
	int ring = syscall(SYS_io_uring_setup, 8, &params);
	unsigned int *tail, *mask, *array;
	struct io_uring_sqe *entries;
	char *queue;

	(void)argc;
	if (ring < 0)
		err(FAILED, "io_uring_setup");
	queue = mmap(NULL, params.sq_off.array + params.sq_entries * 4,
		     PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		     IORING_OFF_SQ_RING);
	entries = mmap(NULL, params.sq_entries * sizeof(*entries),
		       PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		       IORING_OFF_SQES);
	if (queue == MAP_FAILED || entries == MAP_FAILED)
		err(FAILED, "mmap");
	tail = (unsigned int *)(queue + params.sq_off.tail);
	mask = (unsigned int *)(queue + params.sq_off.ring_mask);
	array = (unsigned int *)(queue + params.sq_off.array);
	for (unsigned int i = 0; i < n; i++) {
		unsigned int at = *tail & *mask;

		entries[at] = (struct io_uring_sqe){ .opcode = IORING_OP_NOP,
						     .flags = IOSQE_ASYNC };
		array[at] = at;
		__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
		if (syscall(SYS_io_uring_enter, ring, 1, 1,
			    IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			err(FAILED, "io_uring_enter");
	}
	return 0;
}

static const struct verb {
	const char *name;
	int min_args;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "pairs", 3, pairs },
	{ "pair", 3, pair },
	{ "nest", 2, nest },
	{ "nest-kill", 2, nest_kill },
	{ "kill", 4, kill_by },
	{ "thread-exec", 1, thread_exec },
	{ "vfork-exec", 1, vfork_exec },
	{ "changes", 3, changes },
	{ "exec-fail", 0, exec_fail },
	{ "leader-first", 0, leader_first },
	{ "other-thread-last", 2, other_thread_last },
	{ "threads-exit", 1, threads_exit },
	{ "signal", 1, raise_signal },
	{ "core", 0, core },
	{ "args-big", 1, args_big },
	{ "eat", 0, eat },
	{ "noop", 0, noop },
	{ "storm", 2, storm },
	{ "crowd", 1, crowd },
	{ "churn", 2, churn },
	{ "reuse", 3, reuse },
	{ "round", 1, round_and_round },
	{ "threads-storm", 2, threads_storm },
	{ "uring", 1, uring },
	{ "bomb", 0, bomb },
};

int main(int argc, char **argv)
{
	const struct verb *end = verbs + sizeof(verbs) / sizeof(*verbs);

	for (const struct verb *verb = verbs; argc > 1 && verb < end; verb++)
		if (!strcmp(argv[1], verb->name) && argc - 2 >= verb->min_args)
			return verb->run(argc - 2, argv + 2);
	errx(FAILED, "usage: workload VERB ARG...: see the head of its source");
}
