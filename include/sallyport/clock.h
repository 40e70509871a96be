// SPDX-License-Identifier: ISC
/*
 * Time. All deadlines are int64_t milliseconds of CLOCK_MONOTONIC; wall time
 * is for people only (events, logs).
 */
#ifndef SALLYPORT_CLOCK_H
#define SALLYPORT_CLOCK_H

#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

/* Milliseconds since an unspecified start; never goes back. Any thread. */
int64_t sp_now_ms(void);

/* Microseconds of the same clock. */
int64_t sp_now_us(void);

/* Milliseconds since 1970-01-01 UTC. Any thread. */
int64_t sp_wall_ms(void);

#endif
