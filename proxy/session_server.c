// SPDX-License-Identifier: ISC
/*
 * The server's side of a session: what it is sent and what it says, whose reply
 * that is, and how its connection and its slot are given up.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sallyport/fd_registry.h"
#include "sallyport/session.h"
#include "session_private.h"

static void on_server_ready(void *owner, unsigned ready);

/* --- what was said: the trail for an event -------------------------------------- */

static void trail_add(struct session *s, uint16_t what)
{
	s->trail[s->trail_n % TRAIL_MAX] = what;
	s->trail_n++;
}

/* ">PASV <227 >RETR <150": the last commands and replies. */
static void trail_text(const struct session *s, char *to, size_t size)
{
	unsigned n = s->trail_n < TRAIL_MAX ? s->trail_n : TRAIL_MAX;
	size_t at = 0;

	to[0] = '\0';
	for (unsigned i = s->trail_n - n; i < s->trail_n && at < size; i++) {
		unsigned what = s->trail[i % TRAIL_MAX];
		int wrote = what >= 1000
				? snprintf(to + at, size - at, "%s>%s", at > 0 ? " " : "",
					   verb_row((enum verb)(what - 1000))->name)
				: snprintf(to + at, size - at, "%s<%03u", at > 0 ? " " : "", what);

		if (wrote < 0)
			return;
		at += (size_t)wrote;
	}
}

void session_desync(struct session *s, int code)
{
	struct sp_event event;

	counter_add(s->loop->counters, COUNT_DESYNCS, 1);
	session_log_event(s, &event, EVENT_DESYNC);
	event.code = code;
	event.verb = s->purpose == PURPOSE_NONE ? VERB_UNKNOWN : s->verb;
	trail_text(s, event.text, sizeof(event.text));
	event_emit(s->loop->events, &event);
	session_end(s, END_DESYNC);
}

/* --- connection ------------------------------------------------------------------ */

void session_set_server(struct session *s, int fd, const struct netaddr *address)
{
	s->info.server = *address;
	s->server_eof = false;
	memset(&s->server_local, 0, sizeof(s->server_local));
	stream_open(&s->server.stream, s->loop->base, fd, &s->live->ledger, LEDGER_CONTROL_FD, s->id,
		    SP_HERE, on_server_ready, s);
	young_keep_server_alive(s);
	session_publish(s);
}

void session_to_server(struct session *s, enum purpose purpose, enum verb verb, struct span line)
{
	char wire[2 * LINE_MAX_BYTES + 4];
	bool escape = s->server_config != NULL && s->server_config->escape_iac;
	size_t n = line_write(wire, sizeof(wire), line, escape);

	SP_ASSERT(n > 0);
	if (!control_send(&s->server, span_from(wire, n)))
		s->no_memory = true;
	if (verb_row(verb)->flags & VERB_FLAG_SECRET)
		explicit_bzero(wire, n);
	s->purpose = purpose;
	s->verb = verb;
	if (purpose == PURPOSE_QUIT)
		s->quit_ms = s->loop->now_ms;
	s->facts.command_sent_ms = 0;
	s->facts.slow_command_ms = 0;
	if (verb_row(verb)->flags & VERB_FLAG_SLOW)
		s->facts.slow_command_ms = s->loop->now_ms;
	else
		s->facts.command_sent_ms = s->loop->now_ms;
	trail_add(s, (uint16_t)(1000 + (unsigned)verb));
	atomic_store_explicit(&s->live->verb, (uint16_t)verb, memory_order_relaxed);
}

/* --- the slot --------------------------------------------------------------------- */

void session_offer_slot(struct loop *loop, struct session_id id)
{
	struct message message = { .kind = MESSAGE_SLOT, .id = id };

	if (id.v == 0)
		return;
	if (!mailbox_post(loop->mailboxes[session_id_worker(id)], message))
		counter_add(loop->counters, COUNT_MESSAGES_DROPPED, 1);
}

/*
 * A server that may have no more than max_sessions counts a session until it
 * has closed its side; so does the slot, which outlives the session for that.
 */
struct late_slot {
	struct loop *loop;
	struct pool_ledger *ledger;
	struct slot slot;
};

static void give_slot_back(struct loop *loop, struct pool_ledger *ledger, struct slot *slot)
{
	session_offer_slot(loop, pool_ledger_release(ledger, slot));
}

static void on_server_closed(void *owner)
{
	struct late_slot *late = owner;

	give_slot_back(late->loop, late->ledger, &late->slot);
	free(late);
}

/* The slot, if it is to be given back only when the server has closed; NULL: at once. */
static struct late_slot *take_late_slot(struct session *s)
{
	struct late_slot *late;

	if (!s->slot.held || s->server_config == NULL || s->server_config->max_sessions == 0 || s->server_eof)
		return NULL;
	late = malloc(sizeof(*late));
	if (late == NULL)
		return NULL;
	*late = (struct late_slot){ s->loop, s->pool->ledger, s->slot };
	s->slot.held = false;
	ledger_sub(&s->live->ledger, LEDGER_SLOT);
	return late;
}

void session_drop_server(struct session *s, bool gone)
{
	struct control *server = &s->server;
	bool busy = s->transfer != NULL && s->transfer->running;
	const char *words = gone ? "" : busy ? "ABOR\r\nQUIT\r\n" : "QUIT\r\n";

	logon_not_ahead(s);
	reply_fini(&s->replies);
	if (stream_is_open(&server->stream)) {
		struct late_slot *late = take_late_slot(s);

		if (late != NULL && !s->server_securing)
			farewell_start_then(s->loop->farewells, &server->stream, control_pending(server),
					    span_of(words), s->policy->timeouts.close_timeout, s->id,
					    on_server_closed, late);
		else if (gone || s->server_securing)
			stream_close_read(&server->stream);
		else
			farewell_start(s->loop->farewells, &server->stream, control_pending(server),
				       span_of(words), s->policy->timeouts.close_timeout, s->id);
		if (late != NULL && s->server_securing)
			on_server_closed(late);
	}
	control_fini(server);
	control_init(server);
	if (s->slot.held) {
		ledger_sub(&s->live->ledger, LEDGER_SLOT);
		give_slot_back(s->loop, s->pool->ledger, &s->slot);
	}
	s->server_config = NULL;
	s->warm = false;
	s->server_tls_begin = false;
	s->server_securing = false;
	s->server_prot = false;
}

/* --- replies ---------------------------------------------------------------------- */

static void server_gone(struct session *s)
{
	s->server_eof = true;
	if (s->phase != PHASE_READY) {
		reach_failed(s, "server closed the connection");
		return;
	}
	if (s->purpose == PURPOSE_QUIT) {
		session_say_goodbye(s);
		return;
	}
	(void)transfer_server_lost(s, NULL);
	session_end(s, END_SERVER_CLOSED);
}

/* It may be the answer to a transfer that runs (RFC 959 section 4.2.1); then it is told once. */
static void on_421(struct session *s, const struct reply *reply)
{
	if (!transfer_server_lost(s, reply))
		session_to_client(s, reply->raw);
	session_end(s, END_SERVER_421);
}

static void on_reply(struct session *s, const struct reply *reply)
{
	counter_add(s->loop->counters, COUNT_REPLIES, 1);
	trail_add(s, (uint16_t)reply->code);
	if (s->phase == PHASE_READY && reply->code == 421) {
		on_421(s, reply);
		return;
	}
	switch (s->purpose) {
	case PURPOSE_LOGON:
		logon_on_reply(s, reply);
		return;
	case PURPOSE_PREPARE:
		transfer_on_prepare_reply(s, reply);
		return;
	case PURPOSE_TRANSFER:
	case PURPOSE_ABOR:
		transfer_on_reply(s, reply);
		return;
	case PURPOSE_COMMAND:
	case PURPOSE_FEAT:
	case PURPOSE_QUIT:
		command_on_reply(s, reply);
		return;
	case PURPOSE_NONE:
	case PURPOSE_ANNOUNCE:
		break;
	}
	if (s->phase != PHASE_READY) {
		logon_on_reply(s, reply);
		return;
	}
	if (s->late_abor && (reply->code == 225 || reply->code == 226 || reply_is_negative(reply->code))) {
		s->late_abor = false;
		return;
	}
	session_desync(s, reply->code);
}

/* The next reply; blank lines between replies mean nothing, and somebody should know that they come. */
static enum reply_result next_reply(struct session *s, struct span *bytes, struct reply *reply)
{
	unsigned before = s->replies.blank_lines;
	enum reply_result result = reply_next(&s->replies, bytes, reply);

	if (s->replies.blank_lines != before)
		counter_add(s->loop->counters, COUNT_BLANK_LINES, s->replies.blank_lines - before);
	return result;
}

/* For whoever has to find out what the server said: bytes, since it may be anything. */
static void tell_bad_reply(struct session *s, const struct reply *reply)
{
	char text[3 * 64 + 1] = "";
	size_t n = reply->raw.n < 64 ? reply->raw.n : 64;

	for (size_t i = 0; i < n; i++)
		snprintf(text + 3 * i, 4, " %02x", (unsigned char)reply->raw.p[i]);
	log_write(s->loop->events, LEVEL_WARNING, "server %s said what is no reply%s%s", s->server_config->name,
		  n > 0 ? ":" : ", or one without end", text);
}

/*
 * IIS 1 and 2 (KB Q154962) end a reply of many lines before its last one. What
 * comes at once and has its code is the rest of it: we ask one thing at a time.
 */
static bool is_repeat(const struct session *s, int code, int before)
{
	return code == before && s->server_config->drop_repeats;
}

static void feed_server(struct session *s, struct span bytes)
{
	struct reply reply;
	int before = 0;

	/* A reply may drop the server (next one at logon); what else it sent is void then. */
	while (!s->ending && stream_is_open(&s->server.stream)) {
		switch (next_reply(s, &bytes, &reply)) {
		case REPLY_OK:
			if (is_repeat(s, reply.code, before)) {
				counter_add(s->loop->counters, COUNT_REPLIES_REPEATED, 1);
				break;
			}
			before = reply.code;
			on_reply(s, &reply);
			if (!s->ending && s->server_tls_begin) {
				/* Clear bytes behind the 234 would be taken for protected ones. */
				if (bytes.n > 0)
					reach_failed(s, "bytes in clear behind the 234");
				else
					reach_secure(s);
				return;
			}
			break;
		case REPLY_MORE:
			return;
		case REPLY_NO_MEMORY:
			session_end(s, END_NO_MEMORY);
			return;
		case REPLY_BAD:
		case REPLY_TOO_LONG:
			tell_bad_reply(s, &reply);
			if (s->phase == PHASE_READY)
				session_end(s, END_BAD_REPLY);
			else
				reach_failed(s, "server sent something that is not a reply");
			return;
		}
	}
}

void session_read_server(struct session *s)
{
	ssize_t n = stream_read(&s->server.stream, s->loop->scratch, CONTROL_READ_MAX);

	if (n == -EAGAIN)
		return;
	if (n <= 0)
		server_gone(s);
	else
		feed_server(s, span_from(s->loop->scratch, (size_t)n));
}

static void on_server_ready(void *owner, unsigned ready)
{
	struct session *s = owner;

	s->loop->now_ms = sp_now_ms();
	if ((ready & STREAM_READ) && !s->ending)
		session_read_server(s);
	session_settle(s);
}
