// SPDX-License-Identifier: ISC
/*
 * The queue of those who wait for a slot: by priority, in order of joining, found by id.
 * Pure: no lock, no clock, no memory of its own; the pool ledger has the lock.
 *
 * Who waits goes first: as many as there is room for may pass, counted from the
 * head; who does not wait is behind all who do. A waiter that was told and has
 * not come, or came and could not use the room, is `late`: it keeps its place
 * and holds up nobody.
 */
#ifndef SALLYPORT_WAIT_QUEUE_H
#define SALLYPORT_WAIT_QUEUE_H

#include <stdatomic.h>

#include "sallyport/base.h"
#include "sallyport/session_id.h"

#define WAIT_QUEUE_BUCKETS_LOG2 10
#define WAIT_QUEUE_PRIORITIES	10 /* 0 to 9; the greater one goes first */

/* Allocated by whoever joins, freed by whoever takes it out. */
struct waiter {
	struct session_id id;
	unsigned priority;
	struct waiter *next, **prev; /* in the order in which they go */
	struct waiter *chain;	     /* in its bucket */
	bool told;
	bool late;
	int64_t told_ms;
};

struct wait_queue {
	struct waiter *first;
	struct waiter *last[WAIT_QUEUE_PRIORITIES]; /* of each priority; NULL: there is none */
	_Atomic size_t length; /* may be read without the lock */
	struct waiter *bucket[1 << WAIT_QUEUE_BUCKETS_LOG2];
};

void wait_queue_init(struct wait_queue *queue);

static inline size_t wait_queue_length(const struct wait_queue *queue)
{
	return atomic_load_explicit(&queue->length, memory_order_relaxed);
}

/* Joins behind all of its priority and of greater ones; false, and *waiter is not in it: one of that id waits already. */
bool wait_queue_join(struct wait_queue *queue, struct waiter *waiter);
/* Takes the one of that id out. NULL: there is none. */
struct waiter *wait_queue_leave(struct wait_queue *queue, struct session_id id);
/* Takes the first one out. NULL: nobody waits. */
struct waiter *wait_queue_leave_first(struct wait_queue *queue);

/* Is there room for `id`, who may wait or not, when those before it have had theirs? */
bool wait_queue_has_turn(const struct wait_queue *queue, struct session_id id, size_t room);

/*
 * The next one to be told that there is room, marked as told at now_ms: one who
 * has not been told, or was repeat_ms ago and has not come. None: SESSION_ID_NONE.
 */
struct session_id wait_queue_tell(struct wait_queue *queue, size_t room, int64_t now_ms, int64_t repeat_ms);

/* It came when told, and could not use the room. */
void wait_queue_came_in_vain(struct wait_queue *queue, struct session_id id);

#endif
