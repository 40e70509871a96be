// SPDX-License-Identifier: ISC
/*
 * libbench_allocs.so, for LD_PRELOAD: counts the allocations of a process and its children in
 * the file that BENCH_ALLOCS names: four uint64_t, of malloc, calloc, realloc and free. The file
 * is there already, of that size; whoever wants a rate reads it twice. glibc only.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OF_MALLOC, OF_CALLOC, OF_REALLOC, OF_FREE, KINDS };

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void __libc_free(void *old);

static _Atomic uint64_t nowhere[KINDS];
static _Atomic uint64_t *counts = nowhere;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("BENCH_ALLOCS");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *shared;

	if (fd == -1)
		return;
	shared = mmap(NULL, sizeof(nowhere), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (shared != MAP_FAILED)
		counts = shared;
}

static void count(int kind)
{
	(void)atomic_fetch_add_explicit(&counts[kind], 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
	count(OF_MALLOC);
	return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	count(OF_CALLOC);
	return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size)
{
	count(OF_REALLOC);
	return __libc_realloc(old, size);
}

void free(void *old)
{
	if (old == NULL)
		return;
	count(OF_FREE);
	__libc_free(old);
}
