// SPDX-License-Identifier: ISC
/*
 * A session's command lines: from the client's bytes to a queue of lines, in
 * one contiguous buffer that exists only while something waits. Each entry is
 * a kind (1 byte), a length (2 bytes) and the line.
 */
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

#define ENTRY_HEAD 3u
#define QUEUE_FIRST_CAP 256u

_Static_assert(LINE_MAX_BYTES <= UINT16_MAX, "a line's length is kept in two bytes");

void queue_free(struct session *s)
{
	if (s->queue == NULL)
		return;
	/* PASS may be among the lines. */
	explicit_bzero(s->queue, s->queue_cap);
	free(s->queue);
	s->queue = NULL;
	s->queue_n = 0;
	s->queue_at = 0;
	s->queue_cap = 0;
	ledger_sub(&s->live->ledger, LEDGER_BUFFER);
}

static bool queue_grow(struct session *s, size_t need)
{
	bool first = s->queue == NULL;
	size_t cap =
	    sp_grow_secret(&s->queue, s->queue_n, first ? QUEUE_FIRST_CAP : s->queue_cap, need);

	if (cap == 0)
		return false;
	if (first)
		ledger_add(&s->live->ledger, LEDGER_BUFFER);
	s->queue_cap = (uint32_t)cap;
	return true;
}

/* Drops what has been popped: a client that never lets the queue run empty must not make it grow.
 */
static void queue_compact(struct session *s)
{
	if (s->queue_at == 0)
		return;
	s->queue_n -= s->queue_at;
	memmove(s->queue, s->queue + s->queue_at, s->queue_n);
	s->queue_at = 0;
}

bool queue_push(struct session *s, enum queued kind, struct span line)
{
	size_t need = s->queue_n + ENTRY_HEAD + line.n;
	char *to;

	if (need > s->queue_cap) {
		queue_compact(s);
		need = s->queue_n + ENTRY_HEAD + line.n;
	}
	if (need > s->queue_cap && !queue_grow(s, need))
		return false;
	to = s->queue + s->queue_n;
	to[0] = (char)kind;
	to[1] = (char)(line.n & 0xff);
	to[2] = (char)(line.n >> 8);
	if (line.n > 0)
		memcpy(to + ENTRY_HEAD, line.p, line.n);
	s->queue_n = (uint32_t)need;
	return true;
}

bool queue_pop(struct session *s, enum queued *kind, struct span *line)
{
	const unsigned char *from;

	if (queue_is_empty(s)) {
		queue_free(s);
		return false;
	}
	from = (const unsigned char *)s->queue + s->queue_at;
	*kind = (enum queued)from[0];
	*line =
	    span_from(s->queue + s->queue_at + ENTRY_HEAD, (size_t)from[1] | (size_t)from[2] << 8);
	s->queue_at += (uint32_t)(ENTRY_HEAD + line->n);
	return true;
}

/* Deals with one line, or puts it into the queue behind others. */
static void take_line(struct session *s, enum queued kind, struct span line)
{
	counter_add(s->loop->counters, COUNT_COMMANDS, 1);
	if (s->purpose == PURPOSE_NONE && queue_is_empty(s)) {
		command_line(s, kind, line);
		return;
	}
	if (kind == QUEUED_LINE && command_inflight(s, line))
		return;
	if (!queue_push(s, kind, line))
		s->no_memory = true;
}

/* Telnet's answers to what the client wished for: WONT and DONT (RFC 1123 section 4.1.2.12). */
static void send_telnet_answers(struct session *s)
{
	if (s->lines.answers_n == 0)
		return;
	session_to_client(s, span_from((const char *)s->lines.answers, s->lines.answers_n));
	s->lines.answers_n = 0;
}

void session_feed(struct session *s, struct span bytes)
{
	struct span line;

	while (!session_is_over(s) && !s->no_memory) {
		enum line_result result = line_next(&s->lines, &bytes, &line);

		send_telnet_answers(s);
		if (result != LINE_MORE)
			s->facts.line_started_ms = 0; /* command_timeout is each line's own */
		switch (result) {
		case LINE_OK:
			take_line(s, QUEUED_LINE, line);
			if (!session_is_over(s) && (s->tls_begin || s->clear_begin)) {
				/* CVE-2011-0411: what came in clear must not run as if it were
				 * protected; nor the reverse. */
				if (bytes.n > 0)
					session_end(s, END_TLS_INJECTION);
				return;
			}
			break;
		case LINE_TOO_LONG:
			take_line(s, QUEUED_TOO_LONG, span_from("", 0));
			break;
		case LINE_BAD:
			take_line(s, QUEUED_BAD, span_from("", 0));
			break;
		case LINE_NO_MEMORY:
			s->no_memory = true;
			break;
		case LINE_MORE:
			return;
		}
	}
}
