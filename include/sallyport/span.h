// SPDX-License-Identifier: ISC
/*
 * Bytes that somebody else owns. Borrowed for the call: copy to keep.
 */
#ifndef SALLYPORT_SPAN_H
#define SALLYPORT_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
	const char *p;
	size_t n;
};

/* The bytes of a C string, without its NUL. NULL is the empty span. */
static inline struct span span_of(const char *s)
{
	return (struct span){ s, s != NULL ? strlen(s) : 0 };
}

static inline struct span span_from(const char *p, size_t n)
{
	return (struct span){ p, n };
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII letters compare without case; all other bytes as they are. */
bool span_eq_nocase(struct span a, struct span b);
bool span_starts_nocase(struct span a, const char *prefix);

/*
 * Copies the bytes into to[size] with a NUL behind them; false when they were
 * cut. Bytes that are NUL stay what they are, so a C reader sees less.
 */
bool span_copy(char *to, size_t size, struct span from);

#endif
