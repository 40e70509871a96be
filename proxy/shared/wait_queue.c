// SPDX-License-Identifier: ISC
/*
 * The queue of those who wait for a slot: a list for the order, a hash for the ids.
 */
#include "sallyport/wait_queue.h"

#include <stddef.h>
#include <string.h>

void wait_queue_init(struct wait_queue *queue)
{
	memset(queue, 0, sizeof(*queue));
}

static void set_length(struct wait_queue *queue, size_t n)
{
	atomic_store_explicit(&queue->length, n, memory_order_relaxed);
}

/* What points at the waiter of that id in its bucket, or at the bucket's end. */
static struct waiter **find(struct wait_queue *queue, struct session_id id)
{
	size_t bucket = id.v * 0x9e3779b97f4a7c15u >> (64 - WAIT_QUEUE_BUCKETS_LOG2);
	struct waiter **at = &queue->bucket[bucket];

	while (*at != NULL && !session_id_eq((*at)->id, id))
		at = &(*at)->chain;
	return at;
}

/* Where one of this priority joins: what points at whoever is behind it. */
static struct waiter **place_for(struct wait_queue *queue, unsigned priority)
{
	for (unsigned p = priority; p < WAIT_QUEUE_PRIORITIES; p++) {
		if (queue->last[p] != NULL)
			return &queue->last[p]->next;
	}
	return &queue->first;
}

bool wait_queue_join(struct wait_queue *queue, struct waiter *waiter)
{
	struct waiter **at = find(queue, waiter->id);
	struct waiter **before;

	SP_ASSERT(waiter->priority < WAIT_QUEUE_PRIORITIES);
	if (*at != NULL)
		return false;
	*at = waiter;
	waiter->chain = NULL;
	before = place_for(queue, waiter->priority);
	waiter->prev = before;
	waiter->next = *before;
	if (waiter->next != NULL)
		waiter->next->prev = &waiter->next;
	*before = waiter;
	queue->last[waiter->priority] = waiter;
	set_length(queue, wait_queue_length(queue) + 1);
	return true;
}

/* The one before it, if that is of the same priority. */
static struct waiter *before_of_its_kind(struct wait_queue *queue, const struct waiter *waiter)
{
	struct waiter *before;

	if (waiter->prev == &queue->first)
		return NULL;
	before = (struct waiter *)(void *)((char *)waiter->prev - offsetof(struct waiter, next));
	return before->priority == waiter->priority ? before : NULL;
}

struct waiter *wait_queue_leave(struct wait_queue *queue, struct session_id id)
{
	struct waiter **at = find(queue, id);
	struct waiter *waiter = *at;

	if (waiter == NULL)
		return NULL;
	*at = waiter->chain;
	if (queue->last[waiter->priority] == waiter)
		queue->last[waiter->priority] = before_of_its_kind(queue, waiter);
	*waiter->prev = waiter->next;
	if (waiter->next != NULL)
		waiter->next->prev = waiter->prev;
	set_length(queue, wait_queue_length(queue) - 1);
	return waiter;
}

struct waiter *wait_queue_leave_first(struct wait_queue *queue)
{
	return queue->first != NULL ? wait_queue_leave(queue, queue->first->id) : NULL;
}

/* Backups are for those who can be sent to no server proper, however full these are. */
static enum room_kind use_of(const struct waiter *waiter, const struct wait_room *room, struct place_set *where)
{
	uint64_t proper = 0, open = 0;

	for (size_t i = 0; i * 64 < room->places_n; i++)
		proper |= waiter->usable.bits[i] & room->proper.bits[i];
	for (size_t i = 0; i * 64 < room->places_n; i++) {
		uint64_t kind = proper != 0 ? room->proper.bits[i] : ~room->proper.bits[i];

		where->bits[i] = waiter->usable.bits[i] & room->open.bits[i] & kind;
		open |= where->bits[i];
	}
	if (open == 0)
		return ROOM_NONE;
	return proper != 0 ? ROOM_PROPER : ROOM_BACKUP;
}

static void claim(const struct place_set *where, size_t places_n, uint32_t claims[])
{
	size_t only = places_n;

	for (size_t i = 0; i * 64 < places_n; i++) {
		uint64_t bits = where->bits[i];

		if (bits == 0)
			continue;
		if (only != places_n || (bits & (bits - 1)) != 0)
			return; /* it has a choice */
		only = i * 64 + (size_t)__builtin_ctzll(bits);
	}
	if (only != places_n)
		claims[only]++;
}

bool wait_queue_has_turn(const struct wait_queue *queue, struct session_id id, const struct wait_room *room,
                         uint32_t claims[])
{
	size_t left[] = { room->left[ROOM_PROPER], room->left[ROOM_BACKUP] };
	struct place_set where;

	memset(claims, 0, room->places_n * sizeof(claims[0]));
	for (const struct waiter *w = queue->first; w != NULL && left[ROOM_PROPER] + left[ROOM_BACKUP] > 0; w = w->next) {
		enum room_kind use;

		if (session_id_eq(w->id, id))
			return true;
		use = w->late ? ROOM_NONE : use_of(w, room, &where);
		if (use == ROOM_NONE || left[use] == 0)
			continue;
		left[use]--;
		claim(&where, room->places_n, claims);
	}
	return left[ROOM_PROPER] + left[ROOM_BACKUP] > 0;
}

static bool is_hopeless(const struct waiter *waiter, const struct wait_room *room)
{
	for (size_t i = 0; i * 64 < room->places_n; i++) {
		if ((waiter->usable.bits[i] & room->known.bits[i]) != 0)
			return false;
	}
	return true;
}

static struct session_id tell(struct waiter *waiter, bool late, int64_t now_ms)
{
	waiter->late = late;
	waiter->vain = false;
	waiter->told = true;
	waiter->told_ms = now_ms;
	return waiter->id;
}

struct session_id wait_queue_tell(struct wait_queue *queue, const struct wait_room *room, int64_t now_ms,
                                  int64_t repeat_ms)
{
	size_t left[] = { room->left[ROOM_PROPER], room->left[ROOM_BACKUP] };
	struct place_set where;

	for (struct waiter *w = queue->first;
	     w != NULL && (queue->others || left[ROOM_PROPER] + left[ROOM_BACKUP] > 0); w = w->next) {
		bool anew = w->vain && w->news != queue->news;
		bool due = !w->told || anew || w->told_ms + repeat_ms <= now_ms;
		enum room_kind use = use_of(w, room, &where);

		if (due && use == ROOM_NONE && is_hopeless(w, room))
			return tell(w, true, now_ms);
		if (use == ROOM_NONE || left[use] == 0)
			continue;
		if (due)
			return tell(w, w->told && !anew, now_ms);
		left[use] -= !w->late;
	}
	queue->others = false;
	return SESSION_ID_NONE;
}

void wait_queue_came_in_vain(struct wait_queue *queue, struct session_id id)
{
	struct waiter *waiter = *find(queue, id);

	if (waiter == NULL || !waiter->told)
		return;
	waiter->late = true;
	waiter->vain = true;
	waiter->news = queue->news;
}
