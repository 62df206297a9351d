// SPDX-License-Identifier: Apache-2.0
/*
 * LD_PRELOAD: CLOCK_REALTIME as somebody has stepped it, for one process. The
 * step, in ns, is the 64-bit number in the file that STEPPED_CLOCK names.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t *step_ns;

__attribute__((constructor)) static void begin(void)
{
	int fd = open(getenv("STEPPED_CLOCK") ?: "", O_RDONLY | O_CLOEXEC);

	step_ns = mmap(NULL, sizeof(*step_ns), PROT_READ, MAP_SHARED, fd, 0);
	if (step_ns == MAP_FAILED)
		abort();
	close(fd);
}

static int64_t now_ns(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec + *step_ns;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_REALTIME)
		return syscall(SYS_clock_gettime, clock, now);
	int64_t ns = now_ns();

	*now = (struct timespec){ .tv_sec = ns / 1000000000,
				  .tv_nsec = ns % 1000000000 };
	return 0;
}

int gettimeofday(struct timeval *now, void *zone)
{
	int64_t ns = now_ns();

	(void)zone;
	now->tv_sec = ns / 1000000000;
	now->tv_usec = ns / 1000 % 1000000;
	return 0;
}

time_t time(time_t *now)
{
	time_t seconds = now_ns() / 1000000000;

	if (now)
		*now = seconds;
	return seconds;
}
