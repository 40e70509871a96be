// SPDX-License-Identifier: ISC
/*
 * The floor: what every file may use. Attributes, assertions, small helpers.
 */
#ifndef SALLYPORT_BASE_H
#define SALLYPORT_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SP_MUSTCHECK	 __attribute__((warn_unused_result))
#define SP_PRINTF(f, a)	 __attribute__((format(printf, f, a)))
#define SP_ARRAY_LEN(a)	 (sizeof(a) / sizeof((a)[0]))
#define SP_UNUSED	 __attribute__((unused))

/* The structure that holds `member` at `ptr`. */
#define SP_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/*
 * Assertions are on in every build. They are for what we promise ourselves
 * (thread, state, ownership); never for what a peer, a file, the kernel or
 * memory exhaustion can cause. A failed one prints where and aborts.
 */
#define SP_ASSERT(cond) ((cond) ? (void)0 : sp_assert_failed(#cond, __FILE__, __LINE__))
#define SP_UNREACHABLE(why) sp_assert_failed("unreachable: " why, __FILE__, __LINE__)

/* Writes the message to stderr and aborts. Any thread. */
__attribute__((noreturn)) void sp_assert_failed(const char *what, const char *file, int line);

static inline int64_t sp_min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static inline int64_t sp_max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/*
 * Copies `from` into to[size], cut if it does not fit, always ended by NUL.
 * Returns false when it was cut. NULL counts as "". Pure; any thread.
 */
bool sp_copy(char *to, size_t size, const char *from);

/*
 * A larger buffer in the place of *buffer, for `need` bytes and more, with the
 * first `used` bytes of the old one, which is wiped as a whole: passwords may
 * have been in it. `cap` is what *buffer has, or where it is NULL, what it is to
 * have at the least. Returns the new capacity; 0: no memory, nothing has changed.
 */
SP_MUSTCHECK size_t sp_grow_secret(char **buffer, size_t used, size_t cap, size_t need);

#endif
