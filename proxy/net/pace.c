// SPDX-License-Identifier: ISC
/*
 * Low-water marks of fast sources; one timer for all of a worker.
 */
#include "sallyport/pace.h"

#include <event2/event.h>
#include <sys/socket.h>

#include "sallyport/clock.h"

int pace_mark(uint64_t came, int64_t elapsed_ms, int buffer)
{
	uint64_t gathers = came / (uint64_t)elapsed_ms * PACE_GATHER_MS;
	int mark = PACE_MARK_MAX;

	while (mark >= PACE_MARK_MIN && ((uint64_t)mark > gathers || mark > buffer / 8))
		mark /= 2;
	return mark >= PACE_MARK_MIN ? mark : 0;
}

/* Where it fails the source is read as others are. */
static void set_mark(const struct pacer *pacer, struct pace *pace, int mark)
{
	int bytes = mark > 0 ? mark : 1;

	if (mark == pace->mark)
		return;
	if (setsockopt(pace->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) != 0)
		return;
	if (pace->mark == 0)
		counter_add(pacer->counters, COUNT_SOURCES_PACED, 1);
	pace->mark = mark;
}

/* The kernel lets it grow while much comes. */
static int buffer_of(int fd)
{
	int buffer = 0;
	socklen_t n = sizeof(buffer);

	return getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, &n) == 0 ? buffer : 0;
}

static void begin_turn(struct pace *pace, int64_t now_ms)
{
	pace->moved_then = pace->moved;
	pace->then_ms = now_ms;
}

/* Whoever is not fast any longer leaves, and comes back with its next PACE_START bytes. */
static void take_turn(const struct pacer *pacer, struct pace *pace, int64_t now_ms)
{
	const int64_t elapsed_ms = sp_max64(now_ms - pace->then_ms, 1);

	set_mark(pacer, pace, pace_mark(pace->moved - pace->moved_then, elapsed_ms, buffer_of(pace->fd)));
	begin_turn(pace, now_ms);
	if (pace->mark == 0)
		pace_end(pace);
}

static bool set_timer(struct pacer *pacer)
{
	static const struct timeval turn = { 0, PACE_TURN_MS * 1000 };

	return evtimer_pending(&pacer->on_turn, NULL) || evtimer_add(&pacer->on_turn, &turn) == 0;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct pacer *pacer = arg;
	const int64_t now_ms = sp_now_ms();
	struct pace *next;

	(void)fd;
	(void)what;
	for (struct pace *pace = LIST_FIRST(&pacer->fast); pace != NULL; pace = next) {
		next = LIST_NEXT(pace, turn);
		take_turn(pacer, pace, now_ms);
	}
	if (!LIST_EMPTY(&pacer->fast) && !set_timer(pacer)) {
		/* No memory for the timer: nobody may be left with a mark. */
		while (!LIST_EMPTY(&pacer->fast)) {
			set_mark(pacer, LIST_FIRST(&pacer->fast), 0);
			pace_end(LIST_FIRST(&pacer->fast));
		}
	}
}

void pacer_init(struct pacer *pacer, struct event_base *base, struct counters *counters)
{
	LIST_INIT(&pacer->fast);
	pacer->counters = counters;
	evtimer_assign(&pacer->on_turn, base, on_turn, pacer);
}

void pacer_fini(struct pacer *pacer)
{
	while (!LIST_EMPTY(&pacer->fast))
		pace_end(LIST_FIRST(&pacer->fast));
	evtimer_del(&pacer->on_turn);
}

void pace_begin(struct pace *pace, int fd)
{
	*pace = (struct pace){ .fd = fd };
}

void pace_note(struct pacer *pacer, struct pace *pace, uint64_t moved, int64_t now_ms)
{
	pace->moved = moved;
	if (pace->watched || moved - pace->moved_then < PACE_START)
		return;
	if (!set_timer(pacer))
		return; /* no memory: a later call may have some */
	begin_turn(pace, now_ms);
	LIST_INSERT_HEAD(&pacer->fast, pace, turn);
	pace->watched = true;
}

void pace_end(struct pace *pace)
{
	if (!pace->watched)
		return;
	LIST_REMOVE(pace, turn);
	pace->watched = false;
}
