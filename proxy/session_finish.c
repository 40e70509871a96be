// SPDX-License-Identifier: ISC
/*
 * The end of a transfer: its data, the server's replies, ABOR and the clocks.
 * transfer_check() waits until the data have ended *and* the server has given
 * its final reply, or until one of them makes the other pointless; then
 * policy/transfer.c says what the client is told.
 *
 * On a download the client's data connection is closed only after the server's
 * final reply: a server that dies ends its data connection as if the file were
 * whole, and only the missing 226 tells.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sallyport/translate.h"
#include "session_private.h"

/* Adds what has moved since the last time to the session's and the worker's sums. */
void transfer_count_bytes(struct session *s)
{
	struct transfer *t = s->transfer;

	if (t->data->relay.moved <= t->bytes)
		return;
	uint64_t more = t->data->relay.moved - t->bytes;
	bool up = t->direction == TRANSFER_UP;

	t->bytes = t->data->relay.moved;
	atomic_fetch_add_explicit(up ? &s->live->bytes_up : &s->live->bytes_down, more, memory_order_relaxed);
	counter_add(s->loop->counters, up ? COUNT_BYTES_UP : COUNT_BYTES_DOWN, more);
}

void transfer_report(struct session *s, const struct transfer_reply *reply)
{
	struct transfer *t = s->transfer;
	struct sp_event event;

	counter_add(s->loop->counters, reply->ok ? COUNT_TRANSFERS_OK : COUNT_TRANSFERS_FAILED, 1);
	session_log_event(s, &event, EVENT_TRANSFER);
	event.verb = t->verb;
	event.code = reply->from_server ? t->server_code : reply->code;
	event.duration_ms = s->loop->now_ms - t->started_ms;
	/* All bytes moved, and the server never said that it has them. */
	event.outcome = t->data_end == DATA_COMPLETE && t->server_code == 0 ? "unconfirmed"
									    : data_end_name(t->data_end);
	if (t->direction == TRANSFER_UP)
		event.bytes_up = t->bytes;
	else
		event.bytes_down = t->bytes;
	sp_copy(event.text, sizeof(event.text), t->path);
	event_emit(s->loop->events, &event);
}

/* No more data will move, and why. The sides that must learn of it are broken. */
void transfer_data_ended(struct session *s, enum data_end end)
{
	struct transfer *t = s->transfer;

	if (t->ended)
		return;
	transfer_end_grace(t);
	transfer_count_bytes(s);
	t->ended = true;
	t->data_end = end;
	if (end == DATA_CLIENT_NO_SHOW)
		s->data_name.kind = PORT_NAME_NONE; /* a port that it shares may be why */
	s->facts.data_done_ms = s->loop->now_ms;
	session_activity(s);
	if (end == DATA_COMPLETE) {
		/* An upload's end is passed on; a download's when the server confirms it. */
		data_close(t->data, SIDE_SERVER);
		if (t->direction == TRANSFER_UP)
			data_close(t->data, SIDE_CLIENT);
		return;
	}
	data_abort(t->data, SIDE_SERVER);
	/* An upload's client that is still sending gets its reply before its connection breaks. */
	if (t->direction == TRANSFER_DOWN || end == DATA_SOURCE_FAILED ||
	    t->data->sides[SIDE_CLIENT].state != DATA_OPEN)
		data_abort(t->data, SIDE_CLIENT);
}

/* STOU: the log names the file as the server does, not as the client wished (RFC 1123 section 4.1.2.9). */
static void note_unique_name(struct transfer *t, const struct reply *reply)
{
	struct span name;

	if (t->verb != VERB_STOU)
		return;
	name = translate_stou_name(reply->text);
	if (name.n > 0)
		(void)span_copy(t->path, sizeof(t->path), name);
}

static bool keep_final(struct session *s, const struct reply *reply)
{
	struct transfer *t = s->transfer;

	t->server_code = reply->code;
	t->final = malloc(reply->raw.n);
	if (t->final == NULL) {
		s->no_memory = true;
		return false;
	}
	memcpy(t->final, reply->raw.p, reply->raw.n);
	t->final_n = reply->raw.n;
	return true;
}

/*
 * A port that a 229 named and that nobody can connect to: firewalls that open the
 * ports of a 227 may know nothing of a 229. The next time PASV is tried.
 */
static void learn_from(struct session *s)
{
	const struct transfer *t = s->transfer;
	const struct data_side *server = &t->data->sides[SIDE_SERVER];
	bool refused = server->state == DATA_FAILED && !server->tls_failed && t->server_code == 425;

	if (t->server_verb == VERB_EPSV && (refused || t->data_end == DATA_SERVER_NO_SHOW) &&
	    s->slot.held && s->server_config->data == DATA_AUTO && s->info.server.family == AF_INET)
		pool_ledger_learn(s->pool->ledger, &s->slot, LESSON_NO_EPSV);
}

/* Gives the client its final reply, once. */
static void answer(struct session *s)
{
	struct transfer *t = s->transfer;
	struct transfer_outcome outcome = {
		.direction = t->direction,
		.data = t->data_end,
		.client_told = t->client_told,
		.server_code = t->server_code,
	};
	struct transfer_reply reply = transfer_reply_for(&outcome);

	if (t->answered)
		return;
	t->answered = true;
	learn_from(s);
	if (t->direction == TRANSFER_DOWN) {
		if (reply.ok)
			data_close(t->data, SIDE_CLIENT);
		else
			data_abort(t->data, SIDE_CLIENT);
	}
	transfer_report(s, &reply);
	if (reply.from_server && t->final != NULL)
		session_to_client(s, span_from(t->final, t->final_n));
	else
		session_say(s, reply.code, reply.text);
	/* An upload's client may still be sending: it is to read this before its connection breaks. */
	if (t->direction == TRANSFER_UP && !s->no_memory)
		session_say_now(s);
}

static void finish(struct session *s)
{
	bool abor = s->transfer->abor_sent;
	bool by_client = s->transfer->abor_by_client;

	answer(s);
	s->facts.last_transfer_ms = s->loop->now_ms;
	s->facts.data_done_ms = 0;
	if (s->client_eof)
		s->client_eof_ms = s->loop->now_ms; /* what it said behind the transfer has its time from now on */
	transfer_discard(s);
	session_answered(s);
	if (abor) {
		/* The ABOR's own reply is still to come (RFC 959 section 4.1.3: 426 and then 226). */
		s->purpose = PURPOSE_ABOR;
		s->verb = VERB_ABOR;
		s->abor_quiet = !by_client;
		s->abor_until_ms = s->loop->now_ms + ABOR_WAIT_MS;
	}
}

void transfer_check(struct session *s)
{
	struct transfer *t = s->transfer;

	if (t->server_code == 0)
		return;
	if (!t->ended) {
		enum data_state server = t->data->sides[SIDE_SERVER].state;

		if (reply_is_positive(t->server_code)) {
			/* Confirmed, but the data are still on their way, or their connections are. */
			if (server != DATA_FAILED)
				return;
			transfer_data_ended(s, DATA_SERVER_NO_SHOW);
		} else {
			transfer_data_ended(s, t->data->relay.moved > 0 ? DATA_SINK_FAILED : DATA_NEVER_STARTED);
		}
	}
	finish(s);
}

static void on_abor_reply(struct session *s, const struct reply *reply)
{
	if (reply_is_preliminary(reply->code))
		return;
	if (!verb_reply_fits(VERB_ABOR, reply->code)) {
		session_desync(s, reply->code);
		return;
	}
	session_answered(s);
	if (!s->abor_quiet)
		session_to_client(s, reply->raw);
}

void transfer_on_reply(struct session *s, const struct reply *reply)
{
	struct transfer *t = s->transfer;

	if (s->purpose == PURPOSE_ABOR) {
		on_abor_reply(s, reply);
		return;
	}
	if (!verb_reply_fits(t->verb, reply->code)) {
		session_desync(s, reply->code);
		return;
	}
	s->facts.command_sent_ms = 0;
	s->facts.slow_command_ms = 0;
	if (!reply_is_negative(reply->code))
		note_unique_name(t, reply);
	if (reply_is_preliminary(reply->code)) {
		if (!t->answered)
			session_to_client(s, reply->raw);
		t->client_told = true;
		transfer_dial_client(s);
		return;
	}
	if (t->server_code != 0) {
		/* A second final reply: to our ABOR, while the data are still being dealt with. */
		session_desync(s, reply->code);
		return;
	}
	if (keep_final(s, reply))
		transfer_check(s);
}

/*
 * Tells the server to abort. Telnet's form (RFC 959 section 4.1.3) interrupts
 * one that looks at nothing but urgent data while it sends; where other bytes
 * wait before it, or under TLS, nothing can be urgent.
 */
static void tell_abor(struct session *s)
{
	static const char line[] = "\xff\xf4\xff\xf2" "ABOR\r\n";
	/* As every client does it: urgent is the byte before the mark, which servers may lose. */
	const size_t synch = 3;
	size_t from = 4;

	if (s->server_config->abor == ABOR_TELNET && !stream_is_tls(&s->server.stream) &&
	    control_pending(&s->server).n == 0) {
		ssize_t sent = send(s->server.stream.fd, line, synch, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0)
			from = (size_t)sent;
	}
	if (!control_send(&s->server, span_from(line + from, sizeof(line) - 1 - from)))
		s->no_memory = true;
}

void transfer_abor(struct session *s)
{
	struct transfer *t = s->transfer;

	t->abor_by_client = true;
	if (t->abor_sent)
		return;
	t->abor_sent = true;
	tell_abor(s);
	if (!t->ended)
		transfer_data_ended(s, DATA_ABORTED);
	transfer_check(s);
}

void transfer_status(struct session *s)
{
	const struct transfer *t = s->transfer;

	session_reply(s, 213, "%s in progress: %llu bytes transferred.", verb_row(t->verb)->name,
		      (unsigned long long)t->data->relay.moved);
}

/* The clock names the failure; the client hears it now and the server's own reply is swallowed later. */
static void fail_now(struct session *s, enum data_end end)
{
	transfer_data_ended(s, end);
	answer(s);
}

/* The older of the handshakes that run; 0: none does. */
static int64_t since_when(const struct transfer *t)
{
	int64_t since = 0;

	for (int side = SIDE_CLIENT; side <= SIDE_SERVER; side++) {
		if (t->data->sides[side].state == DATA_SECURING &&
		    (since == 0 || t->securing_ms[side] < since))
			since = t->securing_ms[side];
	}
	return since;
}

/* What a data connection that did not come about in time is called. */
static enum data_end who_is_late(const struct transfer *t, enum clock_id clock)
{
	enum data_state client = t->data->sides[SIDE_CLIENT].state;
	enum data_state server = t->data->sides[SIDE_SERVER].state;

	if (clock == CLOCK_TLS)
		return client == DATA_SECURING && since_when(t) == t->securing_ms[SIDE_CLIENT] ? DATA_TLS_CLIENT
											    : DATA_TLS_SERVER;
	return client != DATA_OPEN && server == DATA_OPEN ? DATA_CLIENT_NO_SHOW : DATA_SERVER_NO_SHOW;
}

void transfer_on_clock(struct session *s, enum clock_id clock)
{
	struct transfer *t = s->transfer;

	if (clock == CLOCK_NONE) {
		/* The server gives no second reply to an ABOR: the client gets its 226 from us. */
		if (s->purpose != PURPOSE_ABOR)
			return;
		session_answered(s);
		s->late_abor = true;
		if (!s->abor_quiet)
			session_say(s, 226, "ABOR command successful.");
		return;
	}
	if (t == NULL)
		return;
	if (!t->running) {
		/* PASV and then nothing: the port is given back; the next transfer command gets 425. */
		transfer_discard(s);
		return;
	}
	if (clock == CLOCK_STALL) {
		tell_abor(s);
		t->abor_sent = true;
		fail_now(s, DATA_STALLED);
	} else if (clock == CLOCK_FINAL_REPLY) {
		answer(s);
	} else {
		fail_now(s, who_is_late(t, clock));
	}
	/* The server may have given its final reply before; then this was all that was waited for. */
	transfer_check(s);
}

bool transfer_server_lost(struct session *s, const struct reply *last)
{
	struct transfer *t = s->transfer;
	bool said;

	if (t == NULL || !t->running || t->answered)
		return false;
	if (!t->ended)
		transfer_data_ended(s, t->direction == TRANSFER_DOWN ? DATA_SOURCE_FAILED : DATA_SINK_FAILED);
	said = last != NULL && t->server_code == 0 && keep_final(s, last);
	if (!said)
		t->server_code = 0;
	answer(s);
	return said;
}

void transfer_facts(struct session *s)
{
	struct clock_facts *facts = &s->facts;
	struct transfer *t = s->transfer;
	const struct data_side *client;
	const struct data_side *server;

	facts->transfer_running = t != NULL && t->running;
	if (t == NULL || t->ended || (!t->running && !t->prepared)) {
		facts->data_offered_ms = 0;
		facts->data_dialled_ms = 0;
		facts->data_securing_ms = 0;
		facts->last_byte_ms = 0;
		if (t == NULL)
			facts->data_done_ms = 0;
		return;
	}
	client = &t->data->sides[SIDE_CLIENT];
	server = &t->data->sides[SIDE_SERVER];
	if (client->state != DATA_LISTENING && server->state != DATA_LISTENING)
		facts->data_offered_ms = 0;
	/* A dial that failed keeps its clock: the server may still say why. */
	if (!t->running || (client->state != DATA_DIALLING && server->state != DATA_DIALLING &&
			    server->state != DATA_FAILED))
		facts->data_dialled_ms = 0;
	facts->data_securing_ms = since_when(t);
	facts->last_byte_ms = 0;
	if (t->data->relay.running) {
		facts->last_byte_ms = t->data->relay.last_byte_ms;
		/* Bytes move: a server that says no 150 is not silent. */
		facts->command_sent_ms = 0;
		facts->slow_command_ms = 0;
	}
}
