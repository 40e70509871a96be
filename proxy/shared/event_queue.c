// SPDX-License-Identifier: ISC
/*
 * The event queue: a bounded ring between everybody and the event hub.
 *
 * An event is formatted before the lock is taken and copied under it. The hub
 * sleeps at an empty ring only, and naps before it looks, so emitting costs a
 * copy and, once a nap, a wake-up. The ring starts over whenever it runs empty:
 * a quiet system touches its first few events' memory and no more.
 */
#include "sallyport/event.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/clock.h"

struct event_queue {
	struct core_lock lock;
	pthread_cond_t not_empty;
	bool hub_waits;
	size_t capacity;
	size_t first;
	size_t length;
	uint64_t emitted;
	uint64_t dropped;
	struct sp_event ring[];
};

struct kind_row {
	const char *name;
	enum event_level level;
};

static const struct kind_row kinds[] = {
#define EVENT(id, name, level, what) [EVENT_##id] = { #name, LEVEL_##level },
#include "sallyport/tbl/events.def"
#undef EVENT
};

const char *event_name(enum event_kind kind)
{
	SP_ASSERT(kind < EVENT_KIND_COUNT);
	return kinds[kind].name;
}

enum event_level event_default_level(enum event_kind kind)
{
	SP_ASSERT(kind < EVENT_KIND_COUNT);
	return kinds[kind].level;
}

const char *event_level_name(enum event_level level)
{
	switch (level) {
	case LEVEL_DEBUG:
		return "debug";
	case LEVEL_INFO:
		return "info";
	case LEVEL_NOTICE:
		return "notice";
	case LEVEL_WARNING:
		return "warning";
	case LEVEL_ERROR:
		return "error";
	}
	SP_UNREACHABLE("level of an event");
}

void event_init(struct sp_event *event, enum event_kind kind)
{
	memset(event, 0, sizeof(*event));
	event->kind = kind;
	event->level = event_default_level(kind);
	event->wall_ms = sp_wall_ms();
	event->clock = CLOCK_NONE;
	event->verb = VERB_UNKNOWN;
	event->duration_ms = -1;
}

struct event_queue *event_queue_new(size_t capacity)
{
	SP_ASSERT(capacity > 0 && capacity < SIZE_MAX / sizeof(struct sp_event) / 2);

	struct event_queue *queue = malloc(sizeof(*queue) + capacity * sizeof(struct sp_event));

	if (queue == NULL)
		return NULL;
	memset(queue, 0, sizeof(*queue));
	core_lock_init(&queue->lock);
	core_lock_cond_init(&queue->not_empty);
	queue->capacity = capacity;
	return queue;
}

void event_queue_free(struct event_queue **queue)
{
	struct event_queue *q = *queue;

	*queue = NULL;
	if (q == NULL)
		return;
	SP_ASSERT(pthread_cond_destroy(&q->not_empty) == 0);
	core_lock_fini(&q->lock);
	free(q);
}

/* The text is the last member, and mostly short. */
static size_t used_size(const struct sp_event *event)
{
	size_t size =
	    offsetof(struct sp_event, text) + strnlen(event->text, sizeof(event->text) - 1) + 1;

	return size < sizeof(*event) ? size : sizeof(*event);
}

/* Copies the event in. False: the ring is full. */
static bool put_locked(struct event_queue *queue, const struct sp_event *event, size_t size)
    SP_REQUIRES(queue->lock, sp_any_shard)
{
	if (queue->length == queue->capacity) {
		queue->dropped++;
		return false;
	}

	struct sp_event *place = &queue->ring[(queue->first + queue->length) % queue->capacity];

	memcpy(place, event, size);
	((char *)place)[size - 1] = '\0';
	queue->length++;
	queue->emitted++;
	return true;
}

void event_emit(struct event_queue *queue, const struct sp_event *event)
{
	SP_ASSERT_UNLOCKED();

	size_t size = used_size(event);

	core_lock_take(&queue->lock, __func__);
	bool wake = put_locked(queue, event, size) && queue->hub_waits;

	if (wake)
		queue->hub_waits = false; /* one wake-up is enough */
	core_lock_drop(&queue->lock);
	if (wake)
		pthread_cond_signal(&queue->not_empty);
}

void log_write(struct event_queue *queue, enum event_level level, const char *format, ...)
{
	SP_ASSERT_UNLOCKED();

	struct sp_event event;
	va_list args;

	event_init(&event, EVENT_LOG);
	event.level = level;
	va_start(args, format);
	(void)vsnprintf(event.text, sizeof(event.text), format, args);
	va_end(args);
	event_emit(queue, &event);
}

/* Sleeps until there is something or the time has come. Returns whether it slept. */
static bool wait_locked(struct event_queue *queue, int64_t until_ms)
    SP_REQUIRES(queue->lock, sp_any_shard)
{
	bool slept = false;

	while (queue->length == 0 && sp_now_ms() < until_ms) {
		queue->hub_waits = true;
		core_lock_wait(&queue->lock, &queue->not_empty, until_ms, __func__);
		slept = true;
	}
	queue->hub_waits = false;
	return slept && queue->length > 0;
}

static size_t take_locked(struct event_queue *queue, struct sp_event out[], size_t n)
    SP_REQUIRES(queue->lock, sp_any_shard)
{
	size_t got = 0;

	for (; got < n && queue->length > 0; got++) {
		const struct sp_event *event = &queue->ring[queue->first];

		memcpy(&out[got], event, used_size(event));
		queue->first = (queue->first + 1) % queue->capacity;
		queue->length--;
	}
	if (queue->length == 0)
		queue->first = 0;
	return got;
}

static void nap(void)
{
	struct timespec t = { .tv_nsec = EVENT_NAP_MS * 1000000L };

	nanosleep(&t, NULL);
}

size_t event_queue_take(struct event_queue *queue, struct sp_event out[], size_t n, int64_t wait_ms)
{
	SP_ASSERT_UNLOCKED();

	int64_t until_ms = sp_now_ms() + wait_ms;

	core_lock_take(&queue->lock, __func__);
	bool woken = wait_locked(queue, until_ms) && queue->length < queue->capacity / 2;
	core_lock_drop(&queue->lock);
	if (woken)
		nap();

	core_lock_take(&queue->lock, __func__);
	size_t got = take_locked(queue, out, n);
	core_lock_drop(&queue->lock);
	return got;
}

void event_queue_stats(struct event_queue *queue, struct event_queue_stats *out)
{
	SP_ASSERT_UNLOCKED();
	core_lock_take(&queue->lock, __func__);
	*out = (struct event_queue_stats){
		.emitted = queue->emitted,
		.dropped = queue->dropped,
		.length = queue->length,
		.capacity = queue->capacity,
	};
	core_lock_drop(&queue->lock);
}

void event_queue_lock_stats(struct event_queue *queue, struct lock_stats *out)
{
	core_lock_stats(&queue->lock, out);
}
