// SPDX-License-Identifier: ISC
/*
 * A session's clocks: its next deadline, told to the session table after each
 * happening, and what is done when one has passed.
 */
#include "session_private.h"

static enum session_place place_of(const struct session *s)
{
	if (s->transfer != NULL && s->transfer->running)
		return PLACE_TRANSFER;
	if (s->phase == PHASE_READY)
		return s->purpose != PURPOSE_NONE ? PLACE_COMMAND : PLACE_IDLE;
	switch (s->stage) {
	case LOGON_NONE:
		return PLACE_GREETED;
	case LOGON_QUEUED:
		return PLACE_QUEUED;
	case LOGON_LOOKUP:
	case LOGON_DIAL:
	case LOGON_GREETING:
	case LOGON_AUTH:
	case LOGON_TLS:
	case LOGON_PBSZ:
	case LOGON_PROT:
		return PLACE_CONNECTING;
	case LOGON_USER:
	case LOGON_PASSWORD:
	case LOGON_PASS:
	case LOGON_ACCOUNT:
	case LOGON_ACCT:
	case LOGON_UTF8:
	case LOGON_REFUSED:
		break;
	}
	return PLACE_LOGON;
}

/* Deadlines beside the policy's clocks. */
enum wait {
	WAIT_CLOCK,	/* none of these: a clock of the policy */
	WAIT_REFUSED,	/* the 530 of a refused logon, which is never sooner */
	WAIT_TEXT,	/* the next line of text for a client whose logon waits */
	WAIT_QUEUE,	/* a place in the queue for a server */
	WAIT_ABOR,	/* the second reply of an aborted transfer */
	WAIT_QUIT,	/* a server that does not answer QUIT does not keep the client from its 221 */
	WAIT_AHEAD,	/* a server that was connected to before USER, which does not come */
	WAIT_CLEAR,	/* CCC: a client that waits for our close_notify */
	WAIT_GONE,	/* a client that has sent FIN may still read (half-closed), but not for long */
};

struct next_deadline {
	struct deadline at;
	enum wait wait;
};

static void sooner(struct next_deadline *next, int64_t at_ms, enum wait wait)
{
	if (at_ms < next->at.at_ms)
		*next = (struct next_deadline){ { at_ms, CLOCK_NONE }, wait };
}

static struct next_deadline next_deadline(struct session *s)
{
	struct next_deadline next = { deadline_next(&s->facts, &s->policy->timeouts), WAIT_CLOCK };
	int64_t close_ms = s->policy->timeouts.close_timeout;

	if (s->stage == LOGON_QUEUED)
		sooner(&next, s->facts.queued_ms + s->pool->queue_timeout_ms, WAIT_QUEUE);
	if (waiting_text_ms(s) != 0)
		sooner(&next, waiting_text_ms(s), WAIT_TEXT);
	if (s->stage == LOGON_REFUSED)
		sooner(&next, s->refuse_at_ms, WAIT_REFUSED);
	if (s->purpose == PURPOSE_ABOR)
		sooner(&next, s->abor_until_ms, WAIT_ABOR);
	if (s->purpose == PURPOSE_QUIT)
		sooner(&next, s->quit_ms + close_ms, WAIT_QUIT);
	if (s->ahead_ms != 0 && s->policy->timeouts.connect_timeout > 0)
		sooner(&next, s->ahead_ms + s->policy->timeouts.connect_timeout, WAIT_AHEAD);
	if (s->clearing && s->clear_notify_ms != 0)
		sooner(&next, s->clear_notify_ms, WAIT_CLEAR);
	/* A transfer has clocks of its own; a client that has shut its sending side may still wait for it. */
	if (s->client_eof && s->purpose != PURPOSE_TRANSFER)
		sooner(&next, s->client_eof_ms + close_ms, WAIT_GONE);
	return next;
}

void session_update_deadline(struct session *s)
{
	struct deadline next;

	s->facts.command_running = s->purpose != PURPOSE_NONE || !queue_is_empty(s);
	if (!line_is_partial(&s->lines))
		s->facts.line_started_ms = 0;
	else if (s->facts.line_started_ms == 0)
		s->facts.line_started_ms = s->loop->now_ms;
	transfer_facts(s);
	next = next_deadline(s).at;
	atomic_store_explicit(&s->live->clock, (uint8_t)next.clock, memory_order_relaxed);
	atomic_store_explicit(&s->live->place, (uint8_t)place_of(s), memory_order_relaxed);
	if (atomic_load_explicit(&s->live->deadline_ms, memory_order_relaxed) == next.at_ms)
		return;
	if (!session_touch(s->live, next.at_ms))
		session_table_rearm(s->loop->table, s->id, next.at_ms);
}

static enum end_reason reason_of(enum clock_id clock)
{
	switch (clock) {
	case CLOCK_LOGIN:
		return END_LOGIN_TIMEOUT;
	case CLOCK_COMMAND:
		return END_COMMAND_TIMEOUT;
	case CLOCK_TLS:
		return END_TLS_TIMEOUT;
	case CLOCK_IDLE:
		return END_IDLE_TIMEOUT;
	case CLOCK_NO_TRANSFER:
		return END_NO_TRANSFER_TIMEOUT;
	case CLOCK_SESSION:
		return END_SESSION_TIMEOUT;
	case CLOCK_FINAL_REPLY:
		return END_FINAL_REPLY_TIMEOUT;
	case CLOCK_REPLY:
	case CLOCK_CONNECT:
	case CLOCK_DATA_ACCEPT:
	case CLOCK_DATA_CONNECT:
	case CLOCK_STALL:
	case CLOCK_CLOSE:
	case CLOCK_COUNT:
		break;
	}
	return END_REPLY_TIMEOUT;
}

static void emit_timeout(struct session *s, enum clock_id clock)
{
	struct sp_event event;

	counter_expired(s->loop->counters, clock);
	session_log_event(s, &event, EVENT_TIMEOUT);
	event.clock = clock;
	event_emit(s->loop->events, &event);
}

/* A clock has expired: what it ends depends on which one it is. */
static void on_clock(struct session *s, enum clock_id clock)
{
	emit_timeout(s, clock);
	switch (clock) {
	case CLOCK_CONNECT:
		reach_on_connect_clock(s);
		return;
	case CLOCK_REPLY:
		if (s->phase != PHASE_READY) {
			reach_failed(s, "reply_timeout");
			return;
		}
		break;
	case CLOCK_DATA_ACCEPT:
	case CLOCK_DATA_CONNECT:
	case CLOCK_STALL:
		transfer_on_clock(s, clock);
		return;
	case CLOCK_TLS:
		if (s->facts.tls_started_ms == 0) {
			transfer_on_clock(s, clock); /* of a data connection: the session stays */
			return;
		}
		break;
	case CLOCK_FINAL_REPLY:
		transfer_on_clock(s, clock);
		break;
	case CLOCK_LOGIN:
	case CLOCK_COMMAND:
	case CLOCK_IDLE:
	case CLOCK_NO_TRANSFER:
	case CLOCK_SESSION:
	case CLOCK_CLOSE:
	case CLOCK_COUNT:
		break;
	}
	session_end(s, reason_of(clock));
}

static void on_wait_over(struct session *s, enum wait wait, enum clock_id clock)
{
	switch (wait) {
	case WAIT_CLOCK:
		on_clock(s, clock);
		return;
	case WAIT_REFUSED:
		identity_say_refused(s);
		return;
	case WAIT_TEXT:
		waiting_say(s);
		return;
	case WAIT_QUEUE:
		session_end(s, END_QUEUE_TIMEOUT);
		return;
	case WAIT_ABOR:
		transfer_on_clock(s, CLOCK_NONE);
		return;
	case WAIT_QUIT:
		session_say_goodbye(s);
		return;
	case WAIT_AHEAD:
		reach_give_up(s);
		return;
	case WAIT_CLEAR:
		session_clear_notify(s);
		return;
	case WAIT_GONE:
		session_end(s, END_CLIENT_CLOSED);
		return;
	}
}

void session_on_notice(struct session *s)
{
	struct next_deadline next;

	transfer_facts(s);
	next = next_deadline(s);
	if (next.at.at_ms > s->loop->now_ms) {
		/* Something happened since: the record is filed by the true deadline. */
		counter_add(s->loop->counters, COUNT_NOTICES_STALE, 1);
		session_table_rearm(s->loop->table, s->id, next.at.at_ms);
		return;
	}
	on_wait_over(s, next.wait, next.at.clock);
	if (!s->ending)
		session_settle(s);
}
