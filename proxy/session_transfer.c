// SPDX-License-Identifier: ISC
/*
 * A transfer, from the client's PASV (or EPSV, PORT, EPRT) to the final reply.
 *
 * 1. PASV: the server's side is arranged first, by a command of ours in the way
 *    that this server is to be used (so nothing of ours ever comes between the
 *    client's REST and its transfer command, RFC 3659 section 5.3); then the
 *    client's side; then the client gets its answer.
 * 2. RETR: the command goes to the server and, at the same moment, its data
 *    port is dialled; the client's data connection is accepted or dialled. When
 *    both are open the relay runs, whether or not the 150 has come. The server's
 *    port is dialled earlier if the client connects earlier, or says something
 *    else first (REST): there are servers that wait for their data connection
 *    and do nothing else until it is there.
 * 3. The end: transfer_check() waits until the data have ended *and* the server
 *    has given its final reply, or until one of them makes the other pointless;
 *    then policy/transfer.c says what the client is told.
 *
 * On a download the client's data connection is closed only after the server's
 * final reply: a server that dies ends its data connection as if the file were
 * whole, and only the missing 226 tells.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sallyport/translate.h"
#include "session_private.h"

/* How long the end of an upload waits for what the control connection says. */
#define UPLOAD_GRACE_MS 5

static const struct data_ops data_ops;

static void end_grace(struct transfer *t);

static void transfer_check(struct session *s);

/* --- life --------------------------------------------------------------------- */

/* Adds what has moved since the last time to the session's and the worker's sums. */
static void count_bytes(struct session *s)
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

static void emit_transfer(struct session *s, const struct transfer_reply *reply)
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

/* Forgets the transfer; its connections are broken unless they were closed before. */
void transfer_discard(struct session *s)
{
	struct transfer *t = s->transfer;

	if (t == NULL)
		return;
	s->transfer = NULL;
	end_grace(t);
	announce_forget(s, t);
	data_free(&t->data);
	free(t->final);
	free(t);
	ledger_sub(&s->live->ledger, LEDGER_BUFFER);
}

void transfer_free(struct session *s)
{
	struct transfer *t = s->transfer;

	if (t == NULL)
		return;
	if (t->running && !t->answered) {
		struct transfer_reply reply = { .code = 426 };

		count_bytes(s);
		if (!t->ended)
			t->data_end = DATA_ABORTED;
		emit_transfer(s, &reply);
	}
	transfer_discard(s);
}

bool transfer_new(struct session *s)
{
	struct transfer *t;

	transfer_free(s);
	t = calloc(1, sizeof(*t));
	if (t != NULL) {
		t->data = data_new(s->loop, &s->live->ledger, s->id, &data_ops, s);
		if (t->data == NULL) {
			free(t);
			t = NULL;
		}
	}
	if (t == NULL) {
		s->no_memory = true;
		return false;
	}
	ledger_add(&s->live->ledger, LEDGER_BUFFER);
	s->transfer = t;
	return true;
}

/* --- running ------------------------------------------------------------------------ */

static bool wants_protection(const struct session *s, enum side side)
{
	if (side == SIDE_SERVER)
		return s->server_prot;
	return s->prot_p && session_was_protected(s);
}

/* Whether bytes may move on this side; starts its handshake where that is what is missing. */
static bool side_is_ready(struct session *s, enum side side)
{
	struct data *data = s->transfer->data;
	struct data_side *d = &data->sides[side];
	struct data_tls tls = { 0 };

	if (d->state != DATA_OPEN)
		return false;
	if (!wants_protection(s, side) || stream_is_tls(&d->stream))
		return true;
	if (side == SIDE_CLIENT) {
		tls.context = s->listener->tls.context;
		tls.name = s->host;
		tls.tag = s->id.v;
		tls.use = s->transfer->direction == TRANSFER_UP ? TLS_FOR_UPLOAD : TLS_FOR_DOWNLOAD;
	} else {
		tls.context = s->server_config->tls.context;
		tls.name = reach_server_name(s);
		tls.control = &s->server.stream;
	}
	s->transfer->securing_ms[side] = s->loop->now_ms;
	if (!data_secure(data, side, &tls))
		s->no_memory = true;
	return false;
}

/* Starts the relay once both data connections are there; it may come to its end at once. */
static void run_relay(struct session *s)
{
	struct transfer *t = s->transfer;
	bool client;
	bool server;

	if (!t->running || t->ended || t->grace || t->data->relay.running)
		return;
	client = side_is_ready(s, SIDE_CLIENT);
	server = side_is_ready(s, SIDE_SERVER);
	if (client && server)
		data_relay(t->data, t->direction);
}

/* In active mode the client is dialled when the server has said that there is something to move. */
static void dial_client(struct session *s)
{
	struct transfer *t = s->transfer;
	struct data_source source = { .address = *session_local(s) };

	if (t->data->sides[SIDE_CLIENT].state != DATA_ARRANGED)
		return;
	if (source.address.family == t->client_target.family)
		netaddr_set_port(&source.address, (uint16_t)s->listener->active_source_port);
	else
		source.address = (struct netaddr){ .family = AF_UNSPEC };
	s->facts.data_dialled_ms = s->loop->now_ms;
	data_dial(t->data, SIDE_CLIENT, &source);
}

static bool dials_server(const struct transfer *t)
{
	return t->server_verb == VERB_EPSV || t->server_verb == VERB_PASV;
}

void transfer_dial_server(struct session *s)
{
	struct transfer *t = s->transfer;

	if (t != NULL && t->prepared && t->data->sides[SIDE_SERVER].state == DATA_ARRANGED) {
		const struct data_source source = session_source(s);

		data_dial(t->data, SIDE_SERVER, &source);
	}
}

/* One that was dialled before its time and failed gets the chance that it is used to. */
static void redial_server(struct session *s)
{
	struct data_side *side = &s->transfer->data->sides[SIDE_SERVER];

	if (dials_server(s->transfer) && (side->state == DATA_FAILED || side->state == DATA_CLOSED)) {
		const struct netaddr target = side->target;

		data_arrange(s->transfer->data, SIDE_SERVER, &target);
	}
	transfer_dial_server(s);
}

/*
 * PORT with another host than the client's (FXP, where the policy allows it).
 * Whoever waits there is a server, and so are we: nobody would begin the
 * handshake (RFC 4217 section 7).
 */
static bool goes_elsewhere(const struct session *s)
{
	const struct transfer *t = s->transfer;

	return (t->client_verb == VERB_PORT || t->client_verb == VERB_EPRT) &&
	       !netaddr_same_host(&t->client_target, &s->info.client);
}

void transfer_start(struct session *s, const struct command *command, struct span line)
{
	struct transfer *t = s->transfer;

	if (t == NULL || !t->prepared) {
		transfer_refuse(s, 425, "Use PASV, EPSV, PORT or EPRT first.");
		return;
	}
	if (s->listener->tls.required_data && !wants_protection(s, SIDE_CLIENT)) {
		transfer_refuse(s, 521, "Data connections must be protected here: use PROT P.");
		return;
	}
	if (wants_protection(s, SIDE_CLIENT) && goes_elsewhere(s)) {
		transfer_refuse(s, 521, "Data to another host cannot be protected.");
		return;
	}
	t->running = true;
	t->verb = command->verb;
	t->direction = verb_row(command->verb)->action == VERB_ACTION_UP ? TRANSFER_UP : TRANSFER_DOWN;
	t->started_ms = s->loop->now_ms;
	(void)span_copy(t->path, sizeof(t->path), command->argument);
	counter_add(s->loop->counters, COUNT_TRANSFERS_STARTED, 1);
	atomic_fetch_add_explicit(&s->live->transfers, 1, memory_order_relaxed);
	session_to_server(s, PURPOSE_TRANSFER, command->verb, line);
	s->facts.data_offered_ms = s->loop->now_ms;
	s->facts.data_dialled_ms = s->loop->now_ms;
	session_activity(s);
	redial_server(s);
	if (t->data->sides[SIDE_SERVER].state == DATA_OPEN)
		dial_client(s);
	run_relay(s);
}

/* No more data will move, and why. The sides that must learn of it are broken. */
static void data_ended(struct session *s, enum data_end end)
{
	struct transfer *t = s->transfer;

	if (t->ended)
		return;
	end_grace(t);
	count_bytes(s);
	t->ended = true;
	t->data_end = end;
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

/*
 * A client's data connection that is protected now: is it that client's? With
 * `require_tls_reuse` only who has the control connection's secrets can be; a
 * client certificate must be the same on both (RFC 4217 section 10.2).
 */
static bool is_the_clients(const struct session *s)
{
	const struct stream *data = &s->transfer->data->sides[SIDE_CLIENT].stream;
	struct tls_memory control;

	if (!stream_is_tls(data))
		return true;
	session_recall_tls(s, &control);
	if (s->listener->tls.require_reuse && !tls_is_resumption_of(data, &control))
		return false;
	return s->listener->tls.client_certificates == TLS_CLIENT_NONE || tls_same_certificate(data, &control);
}

static void foreign_data(struct session *s)
{
	counter_add(s->loop->counters, COUNT_TLS_FOREIGN, 1);
	data_ended(s, DATA_TLS_FOREIGN);
}

/* The operator's mistake, not the client's: both are told so. */
static void source_port_denied(struct session *s)
{
	log_write(s->loop->events, LEVEL_ERROR,
		  "listener %s: active_source_port %u is not permitted (CAP_NET_BIND_SERVICE)",
		  s->listener->name, s->listener->active_source_port);
	data_ended(s, DATA_LOCAL_ERROR);
}

static void side_failed(struct session *s, enum side side, int error)
{
	const struct data_side *d = &s->transfer->data->sides[side];

	/* A server that refuses its own port says why in its reply: it is waited for. */
	if (d->tls_failed)
		data_ended(s, side == SIDE_CLIENT ? DATA_TLS_CLIENT : DATA_TLS_SERVER);
	else if (side == SIDE_CLIENT && error == EACCES)
		source_port_denied(s);
	else if (side == SIDE_CLIENT)
		data_ended(s, DATA_CLIENT_NO_SHOW);
	transfer_check(s);
}

/* The server's side has just been dialled: the header comes before the handshake and the bytes. */
static bool introduce(struct session *s, enum side side)
{
	struct transfer *t = s->transfer;
	struct stream *stream = &t->data->sides[SIDE_SERVER].stream;

	if (side != SIDE_SERVER || !s->server_config->proxy_protocol_data || !dials_server(t) ||
	    stream_is_tls(stream))
		return true;
	return session_send_header(s, stream);
}

/* The transfer command has not come yet; whatever fails now is seen when it does. */
static void on_side_early(struct session *s, enum side side, int error)
{
	if (error != 0)
		return;
	if (side == SIDE_CLIENT)
		transfer_dial_server(s);
	else if (!introduce(s, side))
		data_abort(s->transfer->data, SIDE_SERVER);
}

/* on_side comes once for the connection and once more when it is protected. */
static void tell_tls(struct session *s, enum side side, int error)
{
	const struct data_side *d = &s->transfer->data->sides[side];
	const char *leg = side == SIDE_CLIENT ? "client data" : "server data";

	if (error == 0 && stream_is_tls(&d->stream))
		session_tls_done(s, leg, &d->stream, LEVEL_DEBUG);
	else if (error != 0 && d->tls_failed)
		session_tls_done(s, leg, NULL, LEVEL_NOTICE);
}

static void on_side(void *owner, enum side side, int error)
{
	struct session *s = owner;
	struct transfer *t = s->transfer;

	if (!t->running) {
		on_side_early(s, side, error);
	} else if (!t->ended) {
		tell_tls(s, side, error);
		if (error == 0 && !introduce(s, side)) {
			data_ended(s, DATA_SERVER_NO_SHOW);
			transfer_check(s);
		} else if (error == 0) {
			if (side == SIDE_SERVER)
				dial_client(s);
			else if (!is_the_clients(s))
				foreign_data(s);
			if (t->ended)
				transfer_check(s);
			else
				run_relay(s);
		} else {
			side_failed(s, side, error);
		}
	}
	session_settle(s);
}

/*
 * The FIN of an upload's data connection proves nothing by itself: a client that
 * dies sends it as well, some microseconds before that of its control
 * connection; and an ABOR may be on its way. So the end is passed on to the
 * server UPLOAD_GRACE_MS later, when the control connection has been read.
 */
static void on_grace(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	struct transfer *t = s->transfer;
	char byte;
	ssize_t n;

	(void)fd;
	(void)what;
	s->loop->now_ms = sp_now_ms();
	t->grace = false;
	n = recv(s->client.stream.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
	if (s->client_eof || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		data_ended(s, DATA_SOURCE_FAILED);
	else
		data_ended(s, DATA_COMPLETE);
	transfer_check(s);
	session_settle(s);
}

static void begin_grace(struct session *s)
{
	const struct timeval grace = { 0, UPLOAD_GRACE_MS * 1000 };
	struct transfer *t = s->transfer;

	t->grace = true;
	evtimer_assign(&t->on_grace, s->loop->base, on_grace, s);
	if (event_add(&t->on_grace, &grace) != 0) {
		t->grace = false;
		data_ended(s, DATA_LOCAL_ERROR);
	}
}

static void end_grace(struct transfer *t)
{
	if (t->grace)
		event_del(&t->on_grace);
	t->grace = false;
}

static void on_relay(void *owner, enum relay_state how)
{
	struct session *s = owner;
	struct transfer *t = s->transfer;

	switch (how) {
	case RELAY_COMPLETE:
		if (t->direction == TRANSFER_UP)
			begin_grace(s);
		else
			data_ended(s, DATA_COMPLETE);
		break;
	case RELAY_SOURCE_FAILED:
		data_ended(s, DATA_SOURCE_FAILED);
		break;
	case RELAY_SINK_FAILED:
		data_ended(s, DATA_SINK_FAILED);
		break;
	case RELAY_LOCAL_ERROR:
		data_ended(s, DATA_LOCAL_ERROR);
		break;
	case RELAY_RUNNING:
		SP_UNREACHABLE("a relay that runs is not over");
	}
	transfer_check(s);
	session_settle(s);
}

static void on_progress(void *owner, bool tick)
{
	struct session *s = owner;

	count_bytes(s);
	if (!tick)
		return;
	session_activity(s);
	session_settle(s);
}

static const struct data_ops data_ops = { on_side, on_relay, on_progress };

/* --- the end ------------------------------------------------------------------------- */

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
	emit_transfer(s, &reply);
	if (reply.from_server && t->final != NULL)
		session_to_client(s, span_from(t->final, t->final_n));
	else
		session_say(s, reply.code, reply.text);
	/* An upload's client may still be sending: it is to read this before its connection breaks. */
	if (t->direction == TRANSFER_UP && !s->no_memory)
		(void)!control_flush(&s->client);
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

static void transfer_check(struct session *s)
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
			data_ended(s, DATA_SERVER_NO_SHOW);
		} else {
			data_ended(s, t->data->relay.moved > 0 ? DATA_SINK_FAILED : DATA_NEVER_STARTED);
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
		dial_client(s);
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
		data_ended(s, DATA_ABORTED);
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
	data_ended(s, end);
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
		data_ended(s, t->direction == TRANSFER_DOWN ? DATA_SOURCE_FAILED : DATA_SINK_FAILED);
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
