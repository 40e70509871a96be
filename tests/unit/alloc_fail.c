// SPDX-License-Identifier: ISC
/*
 * The wrapped allocators: they count, and fail when it is time.
 */
#include "alloc_fail.h"

#include <stddef.h>

/* The linker's names for the wrapped and for the real functions. */
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);

static _Thread_local unsigned left; /* allocations until the one that fails; 0: none will */
static _Thread_local bool failed;

void alloc_fail_at(unsigned n)
{
	left = n;
	if (n != 0)
		failed = false;
}

bool alloc_has_failed(void)
{
	return failed;
}

static bool fails_now(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails_now() ? NULL : __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}
