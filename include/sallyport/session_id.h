// SPDX-License-Identifier: ISC
/*
 * The name of a session for everyone but its worker: 64 bits, never reused
 * while the process lives. The upper 8 bits are the number of the worker that
 * owns the session, so that a message can be posted without a look-up.
 */
#ifndef SALLYPORT_SESSION_ID_H
#define SALLYPORT_SESSION_ID_H

#include <stdbool.h>
#include <stdint.h>

struct session_id {
	uint64_t v; /* 0: no session */
};

#define SESSION_ID_NONE	    ((struct session_id){ 0 })
#define SESSION_WORKERS_MAX 255u
#define SESSION_ID_TEXT_MAX 17 /* 16 hex digits and a NUL */

static inline struct session_id session_id_make(uint32_t worker, uint64_t sequence)
{
	return (struct session_id){ ((uint64_t)worker << 56) | (sequence & 0x00ffffffffffffffu) };
}

static inline uint32_t session_id_worker(struct session_id id)
{
	return (uint32_t)(id.v >> 56);
}

static inline bool session_id_eq(struct session_id a, struct session_id b)
{
	return a.v == b.v;
}

#endif
