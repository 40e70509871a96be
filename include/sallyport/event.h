// SPDX-License-Identifier: ISC
/*
 * Events: something worth telling the outside, as a value. The event queue
 * takes them from any thread; the event hub (events.h) writes them from its own.
 */
#ifndef SALLYPORT_EVENT_H
#define SALLYPORT_EVENT_H

#include "sallyport/base.h"
#include "sallyport/deadline.h"
#include "sallyport/end_reason.h"
#include "sallyport/netaddr.h"
#include "sallyport/session_id.h"
#include "sallyport/thread_safety.h"
#include "sallyport/verb.h"

enum event_level { LEVEL_DEBUG, LEVEL_INFO, LEVEL_NOTICE, LEVEL_WARNING, LEVEL_ERROR };

enum event_kind {
#define EVENT(id, name, level, what) EVENT_##id,
#include "sallyport/tbl/events.def"
#undef EVENT
	EVENT_KIND_COUNT,
};

/* A value; about 700 bytes. Fields that do not apply are zero and are not written. */
struct sp_event {
	enum event_kind kind;
	enum event_level level;	  /* of the kind, but for LOG */
	int64_t wall_ms;	  /* set by event_init */
	struct session_id session;
	enum end_reason reason;	  /* SESSION_END */
	enum clock_id clock;	  /* TIMEOUT; CLOCK_NONE otherwise */
	enum verb verb;		  /* TRANSFER, COMMAND_DENIED; VERB_UNKNOWN otherwise */
	int code;		  /* reply code */
	struct netaddr client;
	struct netaddr server;
	int64_t duration_ms;	  /* SESSION_END, TRANSFER; -1: not given */
	uint64_t bytes_up;
	uint64_t bytes_down;
	uint32_t commands;	  /* SESSION_END */
	uint32_t transfers;
	const char *outcome;	  /* static text: how the data ended, which state */
	const char *tls;	  /* static text: TLS version and the like, NULL: none */
	char listener[32];
	char user[64];
	char pool[32];
	char server_name[32];
	char text[384];		  /* message or path; raw bytes, escaped by the sinks */
};

const char *event_name(enum event_kind kind);
enum event_level event_default_level(enum event_kind kind);
const char *event_level_name(enum event_level level);

/* Zeroes it, sets kind, level, time, and the "none" of clock, verb and duration. */
void event_init(struct sp_event *event, enum event_kind kind);

struct event_queue;

/* A ring of `capacity` events. NULL: no memory. */
struct event_queue *event_queue_new(size_t capacity);
void event_queue_free(struct event_queue **queue);

/*
 * Copies the event in (of `text` only what is used); when the ring is full it is
 * dropped and counted. Wakes the hub only when the hub waits at an empty ring.
 * Never blocks. Any thread.
 */
void event_emit(struct event_queue *queue, const struct sp_event *event) SP_EXCLUDES(sp_any_shard);

/* A LOG event with a formatted text. Any thread. */
void log_write(struct event_queue *queue, enum event_level level, const char *format, ...)
    SP_PRINTF(3, 4) SP_EXCLUDES(sp_any_shard);

/*
 * Waits up to wait_ms for events and takes up to n of them in order; 0 when none
 * came. When it had to wait it naps for EVENT_NAP_MS more, so that a busy system
 * pays for one wake-up a nap and not for one an event. In out[i].text, what is
 * behind the NUL is not set. Hub thread.
 */
size_t event_queue_take(struct event_queue *queue, struct sp_event out[], size_t n, int64_t wait_ms)
    SP_EXCLUDES(sp_any_shard);

#define EVENT_NAP_MS 10

struct event_queue_stats {
	uint64_t emitted; /* taken into the ring */
	uint64_t dropped; /* refused since it was full */
	size_t length;
	size_t capacity;
};
void event_queue_stats(struct event_queue *queue, struct event_queue_stats *out)
    SP_EXCLUDES(sp_any_shard);
void event_queue_lock_stats(struct event_queue *queue, struct lock_stats *out);

#endif
