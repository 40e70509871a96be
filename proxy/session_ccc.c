// SPDX-License-Identifier: ISC
/*
 * CCC (RFC 4217 section 6): the client's control connection goes back to clear.
 *
 * 1. The 200 goes out protected. Then it is the client's turn: some read our
 *    close_notify as the end of the connection when it comes before theirs.
 * 2. The client says close_notify and gets ours; or goes on in clear without a
 *    word; or waits for ours, which it gets after NOTIFY_MS.
 * 3. From the next byte on the connection is in clear. Nothing protected may
 *    come any more: a protected command that is followed by clear ones belongs
 *    to neither. What was agreed on data connections stays: they may be
 *    protected, and must still be the client's.
 */
#include <errno.h>
#include <stdlib.h>

#include "session_private.h"

/* How long a client is given to say close_notify first. */
#define NOTIFY_MS 500

static void now_in_clear(struct session *s)
{
	struct tls_memory *memory = malloc(sizeof(*memory));
	struct sp_event event;

	s->clearing = false;
	s->clear_notify_ms = 0;
	s->facts.tls_started_ms = 0;
	if (memory == NULL) {
		s->no_memory = true;
		return;
	}
	tls_remember(&s->client.stream, memory);
	s->client_tls = memory;
	stream_drop_tls(&s->client.stream);
	counter_add(s->loop->counters, COUNT_TLS_CLEARED, 1);
	session_log_event(s, &event, EVENT_TLS);
	event.outcome = "cleared";
	event_emit(s->loop->events, &event);
}

/* Our close_notify: OpenSSL sends it once, or says -EAGAIN. */
static bool notify(struct session *s)
{
	int result = stream_finish(&s->client.stream, false);

	s->clear_blocked = result == -EAGAIN;
	if (result != 0 && result != -EAGAIN)
		session_end(s, END_CLIENT_RESET);
	return result == 0;
}

void session_clear_begin(struct session *s)
{
	s->clear_begin = false;
	/* Half a line was protected; its other half would not be. */
	if (!queue_is_empty(s) || line_is_partial(&s->lines)) {
		session_end(s, END_TLS_INJECTION);
		return;
	}
	s->clearing = true;
	s->facts.tls_started_ms = s->loop->now_ms;
	s->clear_notify_ms = s->loop->now_ms + NOTIFY_MS;
}

void session_clear_notify(struct session *s)
{
	s->clear_notify_ms = 0;
	(void)notify(s);
}

/* What the client does with its turn. True: it has said close_notify. */
static bool take_turn(struct session *s)
{
	struct stream *client = &s->client.stream;
	int next = tls_next_is_clear(client);
	char byte;
	ssize_t n;

	if (next == -EAGAIN)
		return false;
	if (next < 0) {
		session_end(s, END_CLIENT_CLOSED);
		return false;
	}
	if (next > 0) {
		now_in_clear(s);
		return false;
	}
	n = stream_read(client, &byte, 1);
	if (n != -EAGAIN && (n != 0 || tls_was_cut(client)))
		session_end(s, n > 0 ? END_TLS_INJECTION : END_TLS_FAILED);
	return n == 0 && !session_is_over(s);
}

void session_clear_step(struct session *s)
{
	if (tls_was_cut(&s->client.stream) && !take_turn(s))
		return;
	if (notify(s))
		now_in_clear(s);
}
