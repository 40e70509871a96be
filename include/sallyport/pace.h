// SPDX-License-Identifier: ISC
/*
 * Pace: lets the bytes of a fast source gather before they are read.
 *
 * Of a bulk transfer the kernel reports every segment or two, and each piece
 * that is relayed by itself costs system calls and wakes who waits behind. So
 * a source of which 32 MiB a second or more are relayed gets a low-water mark
 * (SO_RCVLOWAT, socket(7)): what PACE_GATHER_MS bring, by the last turn of
 * PACE_TURN_MS; and no more than an eighth of its receive buffer, a quarter of
 * the window, so that it never waits for us with its window used up. A source
 * that stops loses its mark at the end of the turn, and the kernel then reports
 * the little that is there (Linux 4.18 or later): nothing rests for longer than
 * two turns. The end of a stream and errors are reported at once, whatever the
 * mark is.
 *
 * One timer a worker, which runs only while there is a fast source.
 * Thread: the worker's.
 */
#ifndef SALLYPORT_PACE_H
#define SALLYPORT_PACE_H

#include <event2/event_struct.h>
#include <sys/queue.h>

#include "sallyport/base.h"
#include "sallyport/counters.h"

#define PACE_TURN_MS   10
#define PACE_GATHER_MS 2
#define PACE_START     (1024 * 1024)	/* bytes of a source before it is looked at */
#define PACE_MARK_MIN  (64 * 1024)	/* bytes; a smaller mark would save nothing */
#define PACE_MARK_MAX  (512 * 1024)	/* bytes */

/* Of one source. */
struct pace {
	LIST_ENTRY(pace) turn;
	bool watched;		/* it is in its pacer's list */
	int fd;
	int mark;		/* bytes; 0: none has been set */
	uint64_t moved;		/* bytes relayed in all */
	uint64_t moved_then;	/* bytes, at the beginning of the turn */
	int64_t then_ms;	/* when that was */
};

struct pacer {
	LIST_HEAD(pace_list, pace) fast;
	struct event on_turn;
	struct counters *counters;
};

/* One a worker; base and counters are its worker's and outlive it. */
void pacer_init(struct pacer *pacer, struct event_base *base, struct counters *counters);
/* No source is watched any longer; before the base is freed. */
void pacer_fini(struct pacer *pacer);

/* A source begins: a connected TCP socket, which is the caller's and stays open until pace_end(). */
void pace_begin(struct pace *pace, int fd);

/*
 * `moved` bytes have been relayed in all, at now_ms (sp_now_ms()). Cheap; call
 * it whenever it has become more. Cannot fail: without memory for the timer, or
 * where the kernel refuses a mark, the source is read as others are.
 */
void pace_note(struct pacer *pacer, struct pace *pace, uint64_t moved, int64_t now_ms);

/* The source is over; a mark stays, for the socket is closed next. Idempotent. */
void pace_end(struct pace *pace);

/*
 * The mark of a source of which `came` bytes were relayed in `elapsed_ms` (1 or
 * more), and which may have `buffer` bytes of the kernel's memory (SO_RCVBUF):
 * a power of two from PACE_MARK_MIN to PACE_MARK_MAX, or 0 for none. Pure.
 */
int pace_mark(uint64_t came, int64_t elapsed_ms, int buffer);

#endif
