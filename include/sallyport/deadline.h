// SPDX-License-Identifier: ISC
/*
 * The clocks of a session: which of them run, and which expires next. One pure
 * function; the reaper, the worker and the tests ask the same one.
 */
#ifndef SALLYPORT_DEADLINE_H
#define SALLYPORT_DEADLINE_H

#include "sallyport/base.h"
#include "sallyport/clock.h"

enum clock_id {
#define CLOCK(id, key, default_ms, may_be_off, text) CLOCK_##id,
#include "sallyport/tbl/clocks.def"
#undef CLOCK
	CLOCK_COUNT,
	CLOCK_NONE = CLOCK_COUNT,
};

/* Durations in milliseconds; 0: the clock is off. */
struct timeouts {
#define CLOCK(id, key, default_ms, may_be_off, text) int64_t key;
#include "sallyport/tbl/clocks.def"
#undef CLOCK
};

/* The defaults of DESIGN's table. */
struct timeouts timeouts_default(void);

/* The configuration key of a clock ("idle_timeout"); "none" for CLOCK_NONE. */
const char *clock_name(enum clock_id clock);

/*
 * What the clocks depend on. Times are milliseconds of sp_now_ms(); 0 means
 * "is not so at the moment".
 */
struct clock_facts {
	int64_t accepted_ms;	    /* the client connected; always set */
	int64_t logged_on_ms;	    /* 230 */
	int64_t last_activity_ms;   /* what idle_resets counts as activity; always set */
	int64_t last_transfer_ms;   /* the last transfer ended (230 when there was none) */
	int64_t line_started_ms;    /* a command line has begun and not ended */
	int64_t tls_started_ms;	    /* a control-channel handshake runs (client's side) */
	int64_t connecting_ms;	    /* a server is dialled, handshaken or to greet */
	int64_t command_sent_ms;    /* the server owes the first reply to a command */
	int64_t slow_command_ms;    /* the same, for a verb with VERB_FLAG_SLOW (final_reply_timeout) */
	int64_t queued_ms;	    /* the logon waits for a server slot (no other clock but LOGIN runs) */
	int64_t data_offered_ms;    /* a passive listener waits for its data connection, on either side */
	int64_t data_dialled_ms;    /* a data connection is dialled, on either side */
	int64_t data_securing_ms;   /* a data connection is in its handshake, on either side (tls_timeout) */
	int64_t last_byte_ms;	    /* a relay runs: when it last moved a byte */
	int64_t data_done_ms;	    /* the data ended; the server owes its final reply */
	bool transfer_running;	    /* from the transfer command to the final reply to the client */
	bool command_running;	    /* a command is outstanding or queued */
};

struct deadline {
	int64_t at_ms;	     /* CLOCK_NEVER: nothing will expire */
	enum clock_id clock; /* CLOCK_NONE then */
};

/*
 * The clock that expires first. Rules beyond "start + timeout":
 * idle, no_transfer and session do not run while a transfer runs; idle does not
 * run while a command runs (RFC 1123 section 4.1.3.2); login ends with 230;
 * before 230 idle does not run. A session_timeout that passed during a transfer
 * is due at the transfer's end. Ties go to the clock that stands first in
 * tbl/clocks.def. CLOCK_CLOSE never appears here: it belongs to farewells.
 */
struct deadline deadline_next(const struct clock_facts *facts, const struct timeouts *timeouts);

#endif
