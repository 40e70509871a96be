// SPDX-License-Identifier: ISC
/*
 * The loop: what a session and its parts may know of their worker. Everything
 * here is used on the worker's own thread, but for what is shared by contract
 * (table, events, counters, mailboxes).
 */
#ifndef SALLYPORT_LOOP_H
#define SALLYPORT_LOOP_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "sallyport/base.h"
#include "sallyport/config.h"
#include "sallyport/counters.h"
#include "sallyport/doors.h"
#include "sallyport/event.h"
#include "sallyport/farewell.h"
#include "sallyport/mailbox.h"
#include "sallyport/pace.h"
#include "sallyport/pipe_pool.h"
#include "sallyport/port_registry.h"
#include "sallyport/resolver.h"
#include "sallyport/session_table.h"

/* Bytes of the scratch buffer that a worker lends for the length of one call. */
#define LOOP_SCRATCH_BYTES (128 * 1024)

struct session;

struct loop {
	uint32_t worker;
	struct event_base *base;
	int64_t now_ms;			/* read once per callback */
	struct config *config;		/* in force for new sessions; a reference */
	struct session_table *table;
	struct event_queue *events;
	struct counters *counters;
	struct mailbox *const *mailboxes; /* by worker number */
	struct resolver *resolver;
	struct farewells *farewells;
	struct port_registry *registry;	/* of pooled ports; all workers' */
	struct doors *doors;		/* this worker's of them */
	uint32_t workers;		/* how many there are */
	struct pipe_pool pipes;
	struct pacer pacer;
	char *scratch;			/* LOOP_SCRATCH_BYTES */
	uint64_t next_sequence;		/* of session ids */
	uint64_t random;		/* state of loop_random_fast() */
	uint64_t pool[32];		/* of the kernel's random numbers; the first pool_n are unused */
	size_t pool_n;
	bool draining;			/* sessions end as soon as no transfer runs */
	struct session **by_id;		/* hash of the worker's sessions; a power of two */
	size_t by_id_n;
	size_t sessions;
	unsigned ahead;		/* sessions that hold a server before USER has come */
	unsigned handshakes;	/* with clients, on control connections, that are under way */
	struct session *graveyard;	/* ended; freed after the loop's turn */
	struct session *oldest, *youngest; /* of those that are young */
	struct event on_young;
};

/* Of the kernel: unpredictable, for port numbers. One system call for 32. */
uint64_t loop_random(struct loop *loop);
/* Evenly spread, for balancing; not for anything that must not be guessed. */
uint64_t loop_random_fast(struct loop *loop);

/* The worker's own look-up; NULL: gone. */
struct session *loop_find(struct loop *loop, struct session_id id);

#endif
