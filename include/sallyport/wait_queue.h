// SPDX-License-Identifier: ISC
/*
 * The queue of those who wait for a slot: by priority, in order of joining, found by id.
 * Pure: no lock, no clock, no memory of its own; the pool ledger has the lock.
 *
 * Who waits goes first: as many as there is room for may pass, counted from the
 * head; who does not wait is behind all who do. Not every waiter can use every
 * server (a route to one of them, one that failed this logon already): who can
 * use none that has room is neither told nor in anybody's way. A waiter that was
 * told and has not come, or came and could not use the room, is `late`: it keeps
 * its place and holds up nobody until there is new room.
 */
#ifndef SALLYPORT_WAIT_QUEUE_H
#define SALLYPORT_WAIT_QUEUE_H

#include <stdatomic.h>

#include "sallyport/base.h"
#include "sallyport/session_id.h"

#define WAIT_QUEUE_BUCKETS_LOG2 10
#define WAIT_QUEUE_PRIORITIES	10 /* 0 to 9; the greater one goes first */
#define WAIT_QUEUE_PLACES_MAX	1024

/* Servers of a pool, by the numbers of their places. */
struct place_set {
	uint64_t bits[WAIT_QUEUE_PLACES_MAX / 64];
};

static inline void place_set_add(struct place_set *set, size_t place)
{
	set->bits[place / 64] |= UINT64_C(1) << place % 64;
}

enum room_kind {
	ROOM_PROPER,
	ROOM_BACKUP,
	ROOM_NONE,
};

/* Where there is room. */
struct wait_room {
	size_t places_n;	 /* all places are below this */
	struct place_set known;	 /* servers of the configuration */
	struct place_set proper; /* of these, those that can be chosen and are no backups, with room or without */
	struct place_set open;	 /* servers that have room, backups among them */
	size_t left[ROOM_NONE];	 /* how many sessions these can take, by kind */
};

/* Allocated by whoever joins, freed by whoever takes it out. */
struct waiter {
	struct session_id id;
	unsigned priority;
	struct place_set usable; /* the servers that it may be sent to */
	struct waiter *next, **prev; /* in the order in which they go */
	struct waiter *chain;	     /* in its bucket */
	bool told;
	bool late;
	int64_t told_ms;
	bool vain;     /* it came when told, and could not use the room … */
	uint64_t news; /* … that there was by these news */
};

struct wait_queue {
	struct waiter *first;
	struct waiter *last[WAIT_QUEUE_PRIORITIES]; /* of each priority; NULL: there is none */
	_Atomic size_t length; /* may be read without the lock */
	uint64_t news;	       /* how often there was new room */
	bool others;	       /* the servers are others than before: all of the queue is to be looked at */
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

/*
 * Is there room for `id`, who may wait or not, when those before it have had
 * theirs? `room`: what it can use. In claims[room->places_n] those are counted,
 * at the place where they will be, who can use no other place.
 */
bool wait_queue_has_turn(const struct wait_queue *queue, struct session_id id, const struct wait_room *room,
			 uint32_t claims[]);

/* There is new room: who came in vain may be told again at once. */
static inline void wait_queue_has_news(struct wait_queue *queue)
{
	queue->news++;
}

/* There are other servers than before. */
static inline void wait_queue_has_others(struct wait_queue *queue)
{
	queue->news++;
	queue->others = true;
}

/*
 * The next one to be told that there is room, marked as told at now_ms: one who
 * has not been told, or was repeat_ms ago and has not come. So is one whose
 * servers are all gone, to hear so. None: SESSION_ID_NONE.
 */
struct session_id wait_queue_tell(struct wait_queue *queue, const struct wait_room *room, int64_t now_ms,
				  int64_t repeat_ms);

/* It came when told, and could not use the room. */
void wait_queue_came_in_vain(struct wait_queue *queue, struct session_id id);

#endif
