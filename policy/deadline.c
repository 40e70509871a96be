// SPDX-License-Identifier: ISC
/*
 * Which clock of a session expires first. The table of the clocks is
 * tbl/clocks.def; here stands when each of them runs.
 */
#include "sallyport/deadline.h"

struct timeouts timeouts_default(void)
{
	return (struct timeouts){
#define CLOCK(id, key, default_ms, may_be_off, text) .key = (default_ms),
#include "sallyport/tbl/clocks.def"
#undef CLOCK
	};
}

const char *clock_name(enum clock_id clock)
{
	static const char *const names[] = {
#define CLOCK(id, key, default_ms, may_be_off, text) [CLOCK_##id] = #key,
#include "sallyport/tbl/clocks.def"
#undef CLOCK
		[CLOCK_NONE] = "none",
	};

	SP_ASSERT((size_t)clock < SP_ARRAY_LEN(names));
	return names[clock];
}

/* A clock that started at `start_ms` (0: does not run) with `timeout_ms` (0: off). */
static void consider(struct deadline *best, enum clock_id clock, int64_t start_ms,
                     int64_t timeout_ms)
{
	int64_t at_ms;

	if (start_ms == 0 || timeout_ms <= 0 || timeout_ms > CLOCK_NEVER - start_ms)
		return;
	at_ms = start_ms + timeout_ms;
	if (at_ms < best->at_ms)
		*best = (struct deadline){ at_ms, clock };
}

struct deadline deadline_next(const struct clock_facts *f, const struct timeouts *t)
{
	struct deadline best = { CLOCK_NEVER, CLOCK_NONE };
	bool logged_on = f->logged_on_ms != 0;
	bool at_rest = logged_on && !f->transfer_running;

	if (!logged_on)
		consider(&best, CLOCK_LOGIN, f->accepted_ms, t->login_timeout);
	if (f->queued_ms != 0)
		return best; /* it is we who keep the client waiting */

	/* In the order of tbl/clocks.def: of two that are due together the first is named. */
	consider(&best, CLOCK_COMMAND, f->line_started_ms, t->command_timeout);
	consider(&best, CLOCK_TLS, f->tls_started_ms, t->tls_timeout);
	consider(&best, CLOCK_TLS, f->data_securing_ms, t->tls_timeout);
	if (at_rest && !f->command_running)
		consider(&best, CLOCK_IDLE, f->last_activity_ms, t->idle_timeout);
	if (at_rest)
		consider(&best, CLOCK_NO_TRANSFER, sp_max64(f->last_transfer_ms, f->logged_on_ms),
		         t->no_transfer_timeout);
	consider(&best, CLOCK_DATA_ACCEPT, f->data_offered_ms, t->data_accept_timeout);
	consider(&best, CLOCK_DATA_CONNECT, f->data_dialled_ms, t->data_connect_timeout);
	consider(&best, CLOCK_STALL, f->last_byte_ms, t->stall_timeout);
	consider(&best, CLOCK_FINAL_REPLY, f->data_done_ms, t->final_reply_timeout);
	consider(&best, CLOCK_FINAL_REPLY, f->slow_command_ms, t->final_reply_timeout);
	consider(&best, CLOCK_REPLY, f->command_sent_ms, t->reply_timeout);
	consider(&best, CLOCK_CONNECT, f->connecting_ms, t->connect_timeout);
	if (at_rest)
		consider(&best, CLOCK_SESSION, f->logged_on_ms, t->session_timeout);
	return best;
}
