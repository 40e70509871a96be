// SPDX-License-Identifier: ISC
/*
 * A transfer, from the client's PASV (or EPSV, PORT, EPRT) to the last byte.
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
 * 3. The end: session_finish.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sallyport/tls_hello.h"
#include "session_private.h"

/* How long the end of an upload waits for what the control connection says. */
#define UPLOAD_GRACE_MS 5
/* A file of no more than this, that was passed on within this of its first byte, and its end with it, came as a whole. */
#define UPLOAD_AT_ONCE_BYTES 65536
#define UPLOAD_AT_ONCE_MS    1

static const struct data_ops data_ops;

/* --- life --------------------------------------------------------------------- */

/* Forgets the transfer; its connections are broken unless they were closed before. */
void transfer_discard(struct session *s)
{
	struct transfer *t = s->transfer;

	if (t == NULL)
		return;
	s->transfer = NULL;
	transfer_end_grace(t);
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

		transfer_count_bytes(s);
		if (!t->ended)
			t->data_end = DATA_ABORTED;
		transfer_report(s, &reply);
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
void transfer_dial_client(struct session *s)
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
		struct data_source source = session_source(s);

		source.nodelay = s->server_config->proxy_protocol_data;
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
	if (!wants_protection(s, SIDE_CLIENT) && !data_go_unnamed(t->data)) {
		transfer_refuse(s, 425, "This port is for protected data connections only: use PASV or EPSV again.");
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
		transfer_dial_client(s);
	run_relay(s);
}

/*
 * A client's data connection that is protected now: is it that client's? With
 * `require_tls_reuse`, and where it was told from others by what it resumes,
 * only who has the control connection's secrets can be; a client certificate
 * must be the same on both (RFC 4217 section 10.2).
 */
static bool is_the_clients(struct session *s)
{
	const struct data_side *side = &s->transfer->data->sides[SIDE_CLIENT];
	const struct stream *data = &side->stream;
	struct tls_memory control;
	bool resumes;

	if (!stream_is_tls(data))
		return true;
	session_recall_tls(s, &control);
	resumes = tls_is_resumption_of(data, &control);
	s->data_name = resumes ? tls_hello_said(data) : (struct port_name){ .kind = PORT_NAME_NONE };
	if ((s->listener->tls.require_reuse || side->named) && !resumes)
		return false;
	return s->listener->tls.client_certificates == TLS_CLIENT_NONE || tls_same_certificate(data, &control);
}

static void foreign_data(struct session *s)
{
	counter_add(s->loop->counters, COUNT_TLS_FOREIGN, 1);
	transfer_data_ended(s, DATA_TLS_FOREIGN);
}

/* The operator's mistake, not the client's: both are told so. */
static void source_port_denied(struct session *s)
{
	log_write(s->loop->events, LEVEL_ERROR,
		  "listener %s: active_source_port %u is not permitted (CAP_NET_BIND_SERVICE)",
		  s->listener->name, s->listener->active_source_port);
	transfer_data_ended(s, DATA_LOCAL_ERROR);
}

static void side_failed(struct session *s, enum side side, int error)
{
	const struct data_side *d = &s->transfer->data->sides[side];

	/* A server that refuses its own port says why in its reply: it is waited for. */
	if (d->tls_failed)
		transfer_data_ended(s, side == SIDE_CLIENT ? DATA_TLS_CLIENT : DATA_TLS_SERVER);
	else if (side == SIDE_CLIENT && error == EACCES)
		source_port_denied(s);
	else if (side == SIDE_CLIENT)
		transfer_data_ended(s, DATA_CLIENT_NO_SHOW);
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
			transfer_data_ended(s, DATA_SERVER_NO_SHOW);
			transfer_check(s);
		} else if (error == 0) {
			if (side == SIDE_SERVER)
				transfer_dial_client(s);
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

static bool arm_grace(struct session *s);

/*
 * The FIN of an upload's data connection proves nothing by itself: a client that
 * dies sends it as well, some microseconds before that of its control
 * connection; and an ABOR may be on its way. So the end is passed on to the
 * server UPLOAD_GRACE_MS later, when the control connection has been read. (Not
 * even close_notify proves more: clients send it when they give up, too.) A
 * small file that came as one piece with its end waits for one turn of the loop
 * only, if the control connection is silent then: many small files must not
 * take 5 ms each.
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
	if (t->brief_grace && n > 0) {
		t->brief_grace = false;
		if (arm_grace(s))
			return;
	}
	if (s->client_eof || n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		transfer_data_ended(s, DATA_SOURCE_FAILED);
	else
		transfer_data_ended(s, DATA_COMPLETE);
	transfer_check(s);
	session_settle(s);
}

static bool arm_grace(struct session *s)
{
	struct transfer *t = s->transfer;
	const struct timeval grace = { 0, t->brief_grace ? 0 : UPLOAD_GRACE_MS * 1000 };

	t->grace = event_add(&t->on_grace, &grace) == 0;
	return t->grace;
}

static void begin_grace(struct session *s)
{
	struct transfer *t = s->transfer;
	const struct relay *relay = &t->data->relay;

	t->brief_grace = relay->moved > 0 && relay->moved <= UPLOAD_AT_ONCE_BYTES &&
			 s->loop->now_ms - relay->first_byte_ms <= UPLOAD_AT_ONCE_MS;
	evtimer_assign(&t->on_grace, s->loop->base, on_grace, s);
	if (!arm_grace(s))
		transfer_data_ended(s, DATA_LOCAL_ERROR);
}

void transfer_end_grace(struct transfer *t)
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
			transfer_data_ended(s, DATA_COMPLETE);
		break;
	case RELAY_SOURCE_FAILED:
		transfer_data_ended(s, DATA_SOURCE_FAILED);
		break;
	case RELAY_SINK_FAILED:
		transfer_data_ended(s, DATA_SINK_FAILED);
		break;
	case RELAY_LOCAL_ERROR:
		transfer_data_ended(s, DATA_LOCAL_ERROR);
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

	transfer_count_bytes(s);
	if (!tick)
		return;
	session_activity(s);
	session_settle(s);
}

static const struct data_ops data_ops = { on_side, on_relay, on_progress };
