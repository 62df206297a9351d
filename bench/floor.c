// SPDX-License-Identifier: Apache-2.0
/*
 * How little tracing can cost: the same three raw tracepoints with programs
 * that do as good as nothing, and a reader that only counts. Written in the
 * kernel's instructions, so that nothing but bpf(2) is needed.
 *
 *	floor nothing|count|ring|woken
 *
 * nothing: the programs return. count: a counter a kind and CPU. ring: a
 * record of our size is reserved and submitted, the reader looks every 10 ms.
 * woken: as ring, the kernel wakes the reader as it does by default. Ends by
 * SIGINT and prints what was counted, as one JSON object.
 */
#include <err.h>
#include <linux/bpf.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RING_BYTES (16 << 20)
#define HEADER_BYTES 8
#define KINDS 3

#define INSN(CODE, DST, SRC, OFF, IMM)                                         \
	((struct bpf_insn){ .code = (CODE),                                    \
			    .dst_reg = (DST),                                  \
			    .src_reg = (SRC),                                  \
			    .off = (OFF),                                      \
			    .imm = (IMM) })
#define MOV_IMM(dst, imm) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define MOV_REG(dst, src) INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define ADD_IMM(dst, imm) INSN(BPF_ALU64 | BPF_ADD | BPF_K, dst, 0, 0, imm)
#define LOAD_MAP(dst, fd)                                                      \
	INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd),        \
		INSN(0, 0, 0, 0, 0)
#define STORE_IMM(size, dst, off, imm)                                         \
	INSN(BPF_ST | BPF_MEM | (size), dst, 0, off, imm)
#define LOAD(dst, src, off) INSN(BPF_LDX | BPF_MEM | BPF_DW, dst, src, off, 0)
#define STORE(dst, src, off) INSN(BPF_STX | BPF_MEM | BPF_DW, dst, src, off, 0)
#define SKIP_IF_ZERO(reg, n) INSN(BPF_JMP | BPF_JEQ | BPF_K, reg, 0, n, 0)
#define CALL(helper) INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define RETURN_0 MOV_IMM(0, 0), INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

static const char *const probes[KINDS] = { "sched_process_fork",
					   "sched_process_exec",
					   "sched_process_exit" };
static const char *const names[KINDS] = { "forks", "execs", "exits" };
static volatile sig_atomic_t stopped;

static void stop(int nr)
{
	stopped = nr;
}

static int bpf(int cmd, union bpf_attr *attr, const char *what)
{
	int fd = syscall(SYS_bpf, cmd, attr, sizeof(*attr));

	if (fd < 0)
		err(1, "%s", what);
	return fd;
}

static int make_map(uint32_t type, uint32_t key_size, uint32_t value_size,
		    uint32_t entries)
{
	union bpf_attr attr = { .map_type = type,
				.key_size = key_size,
				.value_size = value_size,
				.max_entries = entries };

	return bpf(BPF_MAP_CREATE, &attr, "map");
}

static void attach(const struct bpf_insn *insns, uint32_t n, const char *probe)
{
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
				.insns = (uintptr_t)insns,
				.insn_cnt = n,
				.license = (uintptr_t)"GPL" };
	union bpf_attr open = {};

	open.raw_tracepoint.name = (uintptr_t)probe;
	open.raw_tracepoint.prog_fd = bpf(BPF_PROG_LOAD, &load, "program");
	bpf(BPF_RAW_TRACEPOINT_OPEN, &open, probe);
}

#define ATTACH(insns, kind)                                                    \
	attach(insns, sizeof(insns) / sizeof(*(insns)), probes[kind])

static void attach_nothing(int kind)
{
	struct bpf_insn insns[] = { RETURN_0 };

	ATTACH(insns, kind);
}

static void attach_count(int kind, int map)
{
	struct bpf_insn insns[] = {
		STORE_IMM(BPF_W, 10, -4, kind),
		MOV_REG(2, 10),
		ADD_IMM(2, -4),
		LOAD_MAP(1, map),
		CALL(BPF_FUNC_map_lookup_elem),
		SKIP_IF_ZERO(0, 3),
		LOAD(1, 0, 0),
		ADD_IMM(1, 1),
		STORE(0, 1, 0),
		RETURN_0,
	};

	ATTACH(insns, kind);
}

static void attach_ring(int kind, int map, int wakeup)
{
	struct bpf_insn insns[] = {
		LOAD_MAP(1, map),
		MOV_IMM(2, RECORD_BYTES),
		MOV_IMM(3, 0),
		CALL(BPF_FUNC_ringbuf_reserve),
		SKIP_IF_ZERO(0, 4),
		STORE_IMM(BPF_DW, 0, 0, kind),
		MOV_REG(1, 0),
		MOV_IMM(2, wakeup),
		CALL(BPF_FUNC_ringbuf_submit),
		RETURN_0,
	};

	ATTACH(insns, kind);
}

static void read_counters(int map, uint64_t *counts)
{
	uint64_t values[4096];

	for (uint32_t kind = 0; kind < KINDS; kind++) {
		union bpf_attr attr = { .map_fd = map,
					.key = (uintptr_t)&kind,
					.value = (uintptr_t)values };

		memset(values, 0, sizeof(values));
		bpf(BPF_MAP_LOOKUP_ELEM, &attr, "counters");
		for (size_t cpu = 0; cpu < 4096; cpu++)
			counts[kind] += values[cpu];
	}
}

static void read_ring(int map, bool woken, uint64_t *counts)
{
	size_t page = sysconf(_SC_PAGESIZE);
	uint64_t *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE,
				  MAP_SHARED, map, 0);
	char *rest = mmap(NULL, page + 2UL * RING_BYTES, PROT_READ, MAP_SHARED,
			  map, page);
	uint64_t *producer = (uint64_t *)rest, at = 0;
	struct pollfd pollfd = { .fd = map, .events = POLLIN };

	if (consumer == MAP_FAILED || rest == MAP_FAILED)
		err(1, "mmap");
	while (!stopped) {
		uint64_t end = __atomic_load_n(producer, __ATOMIC_ACQUIRE);

		while (at < end) {
			char *record = rest + page + at % RING_BYTES;
			uint32_t len = __atomic_load_n((uint32_t *)record,
						       __ATOMIC_ACQUIRE);

			if (len & BPF_RINGBUF_BUSY_BIT)
				break;
			counts[*(uint64_t *)(record + HEADER_BYTES)]++;
			at += RECORD_BYTES + HEADER_BYTES;
		}
		__atomic_store_n(consumer, at, __ATOMIC_RELEASE);
		if (woken)
			poll(&pollfd, 1, -1);
		else
			usleep(10000);
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	bool woken = !strcmp(mode, "woken");
	uint64_t counts[KINDS] = {};
	int map = -1;

	signal(SIGINT, stop);
	if (!strcmp(mode, "count"))
		map = make_map(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, KINDS);
	else if (woken || !strcmp(mode, "ring"))
		map = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, RING_BYTES);
	else if (strcmp(mode, "nothing"))
		errx(2, "usage: see the head of its source");
	for (int kind = 0; kind < KINDS; kind++) {
		if (map < 0)
			attach_nothing(kind);
		else if (!strcmp(mode, "count"))
			attach_count(kind, map);
		else
			attach_ring(kind, map, woken ? 0 : BPF_RB_NO_WAKEUP);
	}
	if (woken || !strcmp(mode, "ring"))
		read_ring(map, woken, counts);
	while (!stopped)
		usleep(10000);
	if (!strcmp(mode, "count"))
		read_counters(map, counts);
	for (int kind = 0; kind < KINDS; kind++)
		printf("%s\"%s\": %lu", kind ? ", " : "{", names[kind],
		       counts[kind]);
	printf("}\n");
	return 0;
}
