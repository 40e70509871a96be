// SPDX-License-Identifier: ISC
/*
 * Allocation failure on demand. The unit tests are linked with malloc, calloc,
 * realloc and aligned_alloc wrapped: what our own objects ask for can be made
 * to fail. So can what libcheck asks for, being a static library: end it with
 * alloc_fail_at(0) before the next assertion.
 */
#ifndef SALLYPORT_TEST_ALLOC_FAIL_H
#define SALLYPORT_TEST_ALLOC_FAIL_H

#include <stdbool.h>

/* The n-th allocation of this thread from now on fails (1: the next), once. 0: none. */
void alloc_fail_at(unsigned n);

/* Whether it came to that since the last alloc_fail_at() that was not of 0. */
bool alloc_has_failed(void);

#endif
