// SPDX-License-Identifier: Apache-2.0
/*
 * The benchmark's workload: one operation again and again, in a PID namespace
 * of its own, at full speed or at a rate; and a ledger of what it did, as one
 * JSON object: how often, how long, what an operation took.
 *
 *	storm spawn|fork|thread N [RATE] [LOG]
 *	storm crowd|spaces N
 *	storm noop
 *
 * spawn: vfork, exec of this program, wait. fork: fork, exit, wait. thread: a
 * thread that does nothing, joined. RATE: a second, 0: full speed. LOG: for
 * each operation the clock before it and the number of its process or thread
 * in the namespace, as struct entry. crowd: N processes that sleep until stdin
 * ends; spaces: N PID namespaces with one each. Both print a line when all are
 * there.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000ULL

/* bench/latency.py reads the same layout. */
struct entry {
	uint64_t boottime_ns;
	uint64_t vtid;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * SECOND_NS + now.tv_nsec;
}

static void sleep_until(uint64_t ns)
{
	struct timespec at = { ns / SECOND_NS, ns % SECOND_NS };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL))
		;
}

static pid_t await(pid_t child)
{
	if (child < 0 || waitpid(child, NULL, 0) != child)
		err(1, "a process cannot be made");
	return child;
}

static uint64_t spawn(void)
{
	const char *self = (const char *)getauxval(AT_EXECFN);
	pid_t child = vfork();

	if (!child) {
		execl(self, self, "noop", NULL);
		_exit(127);
	}
	return await(child);
}

static uint64_t fork_only(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	return await(child);
}

static void *end_at_once(void *tid)
{
	*(uint64_t *)tid = syscall(SYS_gettid);
	return NULL;
}

static uint64_t thread(void)
{
	uint64_t tid;
	pthread_t thread;

	if (pthread_create(&thread, NULL, end_at_once, &tid))
		errx(1, "a thread cannot be made");
	pthread_join(thread, NULL);
	return tid;
}

static const struct mode {
	const char *name;
	uint64_t (*once)(void);
	unsigned int forks, execs, exits, threads;
} modes[] = {
	{ "spawn", spawn, 1, 1, 1, 0 },
	{ "fork", fork_only, 1, 0, 1, 0 },
	{ "thread", thread, 0, 0, 0, 1 },
};

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void print_ledger(const struct mode *mode, unsigned int n,
			 uint64_t elapsed_ns, uint32_t *op_ns)
{
	qsort(op_ns, n, sizeof(*op_ns), by_size);
	printf("{\"mode\": \"%s\", \"forks\": %u, \"execs\": %u, "
	       "\"exits\": %u, \"threads\": %u, \"thread_exits\": %u, "
	       "\"seconds\": %.6f, "
	       "\"op_ns\": {\"p50\": %u, \"p99\": %u, \"max\": %u}}\n",
	       mode->name, mode->forks * n, mode->execs * n, mode->exits * n,
	       mode->threads * n, mode->threads * n, elapsed_ns / 1e9, op_ns[n / 2],
	       op_ns[n - 1 - n / 100], op_ns[n - 1]);
}

static void storm(const struct mode *mode, unsigned int n, double rate,
		  const char *log_path)
{
	uint32_t *op_ns = calloc(n, sizeof(*op_ns));
	struct entry *log = calloc(n, sizeof(*log));
	uint64_t begin = now_ns(CLOCK_MONOTONIC), elapsed;

	if (!op_ns || !log)
		err(1, "memory");
	for (unsigned int i = 0; i < n; i++) {
		uint64_t before;

		if (rate)
			sleep_until(begin + i * (SECOND_NS / rate));
		before = now_ns(CLOCK_MONOTONIC);
		log[i].boottime_ns = now_ns(CLOCK_BOOTTIME);
		log[i].vtid = mode->once();
		op_ns[i] = now_ns(CLOCK_MONOTONIC) - before;
	}
	elapsed = now_ns(CLOCK_MONOTONIC) - begin;
	if (log_path) {
		FILE *file = fopen(log_path, "w");

		if (!file || fwrite(log, sizeof(*log), n, file) != n ||
		    fclose(file))
			err(1, "%s", log_path);
	}
	print_ledger(mode, n, elapsed, op_ns);
}

static void await_end_of_stdin(void)
{
	char c;

	while (read(0, &c, 1) > 0)
		;
}

/* Children die with us, or with their namespace's first process. */
static void sleeper(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void crowd(unsigned int n, int flags)
{
	for (unsigned int i = 0; i < n; i++) {
		pid_t child = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

		if (child < 0)
			err(1, "process %u", i);
		if (!child)
			sleeper();
	}
	printf("ready\n");
	fflush(stdout);
	await_end_of_stdin();
}

/* The rest of this program is number 1 in a new PID namespace. */
static void enter_pidns(void)
{
	int status;
	pid_t init;

	if (unshare(CLONE_NEWPID))
		err(1, "a new PID namespace is not to be had");
	init = fork();
	if (!init) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		return;
	}
	if (init < 0 || waitpid(init, &status, 0) != init)
		err(1, "fork");
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int main(int argc, char **argv)
{
	const struct mode *end = modes + sizeof(modes) / sizeof(*modes);
	unsigned int n = argc > 2 ? atoi(argv[2]) : 0;

	if (argc == 2 && !strcmp(argv[1], "noop"))
		return 0;
	if (!n)
		errx(2, "usage: see the head of its source");
	enter_pidns();
	if (!strcmp(argv[1], "crowd"))
		crowd(n, 0);
	if (!strcmp(argv[1], "spaces"))
		crowd(n, CLONE_NEWPID);
	for (const struct mode *mode = modes; mode < end; mode++)
		if (!strcmp(argv[1], mode->name))
			storm(mode, n, argc > 3 ? atof(argv[3]) : 0,
			      argc > 4 ? argv[4] : NULL);
	return 0;
}
