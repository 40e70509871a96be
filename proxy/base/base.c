// SPDX-License-Identifier: ISC
/*
 * The floor's few bodies: assertion failure, copying, growing, comparing bytes.
 */
#include "sallyport/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/span.h"

void sp_assert_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "sallyport: %s:%d: assertion failed: %s\n", file, line, what);
	fflush(stderr);
	abort();
}

bool sp_copy(char *to, size_t size, const char *from)
{
	size_t n = from != NULL ? strnlen(from, size) : 0;
	bool fits = n < size;

	SP_ASSERT(size > 0);
	if (!fits)
		n = size - 1;
	if (n > 0)
		memcpy(to, from, n);
	to[n] = '\0';
	return fits;
}

size_t sp_grow_secret(char **buffer, size_t used, size_t cap, size_t need)
{
	size_t more = cap;
	char *grown;

	SP_ASSERT(cap > 0 && used <= cap);
	while (more < need)
		more *= 2;
	grown = malloc(more);
	if (grown == NULL)
		return 0;
	if (*buffer != NULL) {
		memcpy(grown, *buffer, used);
		explicit_bzero(*buffer, cap);
		free(*buffer);
	}
	*buffer = grown;
	return more;
}

static unsigned char lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? (unsigned char)(u + ('a' - 'A')) : u;
}

bool span_eq_nocase(struct span a, struct span b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++) {
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	}
	return true;
}

bool span_starts_nocase(struct span a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.n >= n && span_eq_nocase(span_from(a.p, n), span_from(prefix, n));
}

bool span_copy(char *to, size_t size, struct span from)
{
	size_t n = from.n;

	SP_ASSERT(size > 0);
	if (n >= size)
		n = size - 1;
	if (n > 0)
		memcpy(to, from.p, n);
	to[n] = '\0';
	return n == from.n;
}
