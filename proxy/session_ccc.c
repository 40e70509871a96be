// SPDX-License-Identifier: ISC
/*
 * CCC (RFC 4217 section 6): the client's control connection goes back to clear.
 *
 * 1. The 200 goes out protected, and our close_notify behind it.
 * 2. The client's close_notify is read; some clients send none and go on in
 *    clear at once. Nothing protected may come any more: a protected command
 *    that is followed by clear ones belongs to neither.
 * 3. From the next byte on the connection is in clear. What was agreed on data
 *    connections stays: they may be protected, and must still be the client's.
 */
#include <errno.h>

#include "session_private.h"

/* 3. */
static void now_in_clear(struct session *s)
{
	struct sp_event event;

	s->clearing = false;
	s->facts.tls_started_ms = 0;
	stream_drop_tls(&s->client.stream);
	session_log_event(s, &event, EVENT_TLS);
	event.outcome = "cleared";
	event_emit(s->loop->events, &event);
}

/* 1. Once: OpenSSL sends it or says -EAGAIN. */
static bool notify(struct session *s)
{
	int result = stream_finish(&s->client.stream, false);

	if (result != 0 && result != -EAGAIN)
		session_end(s, END_CLIENT_RESET);
	s->clear_notified = result == 0;
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
	(void)notify(s);
}

void session_clear_step(struct session *s)
{
	struct stream *client = &s->client.stream;
	int next;
	char byte;
	ssize_t n;

	if (!notify(s))
		return;
	next = tls_next_is_clear(client);
	if (next == -EAGAIN)
		return;
	if (next == 0) {
		n = stream_read(client, &byte, 1);
		if (n == -EAGAIN)
			return;
		if (n != 0 || tls_was_cut(client)) {
			session_end(s, n > 0 ? END_TLS_INJECTION : END_TLS_FAILED);
			return;
		}
	} else if (next < 0) {
		session_end(s, END_CLIENT_CLOSED);
		return;
	}
	now_in_clear(s);
}
