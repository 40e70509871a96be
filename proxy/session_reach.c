// SPDX-License-Identifier: ISC
/*
 * Reaching a server: the pool's ledger gives one or a place in the queue, its
 * name is looked up, it is dialled, greets and is protected, until it can be
 * told USER. One that fails on the way, or before the logon is confirmed, is
 * replaced by the next one, and the client sees nothing of it.
 */
#include <string.h>

#include "sallyport/logon_answer.h"
#include "session_private.h"

static void server_greeted(struct session *s);

void reach_cancel(struct session *s)
{
	struct logon *logon = s->logon;

	if (logon == NULL)
		return;
	if (logon->lookup != NULL) {
		resolver_forget(&logon->lookup);
		ledger_sub(&s->live->ledger, LEDGER_LOOKUP);
	}
	connect_cancel(&logon->dial);
	if (s->stage == LOGON_QUEUED) {
		pool_ledger_leave(s->pool->ledger, s->id);
		session_offer_slot(s->loop, pool_ledger_offer(s->pool->ledger, s->loop->now_ms));
	}
	s->facts.connecting_ms = 0;
	s->facts.queued_ms = 0;
}

/* --- TLS with the server --------------------------------------------------------- */

static bool wants_tls(const struct session *s)
{
	switch (s->server_config->tls.mode) {
	case SERVER_TLS_NONE:
		return false;
	case SERVER_TLS_CLIENT:
		return stream_is_tls(&s->client.stream);
	case SERVER_TLS_EXPLICIT:
	case SERVER_TLS_IMPLICIT:
	case SERVER_TLS_AUTO:
		break;
	}
	return true;
}

static void on_server_secured(void *owner, int result)
{
	struct session *s = owner;

	s->loop->now_ms = sp_now_ms();
	s->server_securing = false;
	counter_add(s->loop->counters, result == 0 ? COUNT_TLS_HANDSHAKES : COUNT_TLS_FAILURES, 1);
	session_tls_done(s, "server", result == 0 ? &s->server.stream : NULL, LEVEL_INFO);
	if (result != 0) {
		reach_failed(s, tls_error());
	} else if (s->server_config->tls.mode == SERVER_TLS_IMPLICIT) {
		logon_enter(s, LOGON_GREETING);
	} else {
		s->facts.connecting_ms = 0;
		logon_send_line(s, LOGON_PBSZ, VERB_PBSZ, "PBSZ 0");
	}
	session_settle(s);
}

const char *reach_server_name(const struct session *s)
{
	const struct server_config *server = s->server_config;

	return server->tls.name != NULL ? server->tls.name : server->host;
}

void reach_secure(struct session *s)
{
	s->server_tls_begin = false;
	s->server_securing = true;
	s->facts.connecting_ms = s->loop->now_ms;
	logon_enter(s, LOGON_TLS);
	if (tls_connect(&s->server.stream, s->server_config->tls.context, reach_server_name(s), NULL,
			on_server_secured, s) != 0) {
		s->server_securing = false;
		s->no_memory = true;
	}
}

/* --- connecting -------------------------------------------------------------------- */

/* A server that speaks first has spoken: that is how we know that it is connected. */
static void await_greeting(struct session *s)
{
	logon_enter(s, LOGON_GREETING);
	if (s->server_config->proxy_protocol == SERVER_PROXY_NONE)
		session_read_server(s);
}

static void on_dialled(void *owner, int fd, const struct netaddr *address, int error)
{
	struct session *s = owner;

	s->loop->now_ms = sp_now_ms();
	if (fd < 0) {
		s->info.server = *address;
		reach_failed(s, strerror(error));
	} else {
		counter_add(s->loop->counters, COUNT_SERVER_CONNECTS, 1);
		session_set_server(s, fd, address);
		if (s->server_config->proxy_protocol != SERVER_PROXY_NONE &&
		    !session_send_header(s, &s->server.stream))
			reach_failed(s, "the PROXY header could not be sent");
		else if (s->server_config->tls.mode == SERVER_TLS_IMPLICIT)
			reach_secure(s);
		else
			await_greeting(s);
	}
	session_settle(s);
}

static void dial(struct session *s, const struct netaddr addresses[], size_t n)
{
	const struct server_config *server = s->server_config;
	const struct data_source source = session_source(s);
	struct connect_options options = {
		.source = source.address,
		.transparent = source.transparent,
		.nodelay = true,
		/* Unless it is we who begin: with a handshake, or with a PROXY header. */
		.speaks_first = server->tls.mode != SERVER_TLS_IMPLICIT &&
				server->proxy_protocol == SERVER_PROXY_NONE,
	};

	logon_enter(s, LOGON_DIAL);
	connect_start(&s->logon->dial, s->loop->base, addresses, n, &options, &s->live->ledger,
		      LEDGER_CONTROL_FD, s->id, on_dialled, s);
}

static void on_looked_up(void *owner, const struct netaddr addresses[], size_t n, const char *error)
{
	struct session *s = owner;
	struct netaddr usable[RESOLVER_ADDRESSES_MAX];

	s->loop->now_ms = sp_now_ms();
	s->logon->lookup = NULL;
	ledger_sub(&s->live->ledger, LEDGER_LOOKUP);
	memcpy(usable, addresses, n * sizeof(usable[0]));
	n = addresses_prefer(s->server_config->address_family, usable, n);
	if (n == 0)
		reach_failed(s, error != NULL ? error : "name has no address that may be used");
	else
		dial(s, usable, n);
	session_settle(s);
}

static void start_reaching(struct session *s)
{
	const struct server_config *server = s->server_config;

	s->facts.connecting_ms = s->loop->now_ms;
	s->logon->started_ms = s->loop->now_ms;
	s->logon->asked_ms = 0;
	s->last_server = server;
	if (session_take_warm(s)) {
		server_greeted(s);
		return;
	}
	if (s->slot.address.family != AF_UNSPEC || server->address.family != AF_UNSPEC) {
		dial(s, s->slot.address.family != AF_UNSPEC ? &s->slot.address : &server->address, 1);
		return;
	}
	s->logon->lookup = resolver_lookup(s->loop->resolver, server->host, server->port, on_looked_up, s);
	if (s->logon->lookup == NULL) {
		s->no_memory = true;
		return;
	}
	ledger_add(&s->live->ledger, LEDGER_LOOKUP);
	logon_enter(s, LOGON_LOOKUP);
}

/* --- which one -------------------------------------------------------------------- */

static void no_server(struct session *s)
{
	counter_add(s->loop->counters, COUNT_NO_SERVER, 1);
	logon_emit(s, EVENT_LOGON_FAILED, 421, "no server is left");
	session_end(s, s->logon->otherwise);
}

/* Those that have failed, and all others where the route leads to one of them. */
static uint64_t not_to_try(const struct session *s)
{
	uint64_t others = s->only_server == ROUTE_ANY_SERVER ? 0 : ~pool_server_group(s->pool, s->only_server);

	return s->logon->tried | others;
}

/* First of the server that this user or client was at, then of any. */
static enum pool_answer acquire(struct session *s, struct pool_ask *ask)
{
	int before = s->only_server == ROUTE_ANY_SERVER ? memory_server(s) : -1;
	uint64_t tried = ask->tried;

	if (before >= 0 && (tried >> before & 1) == 0) {
		ask->tried = ~(UINT64_C(1) << before);
		if (pool_ledger_acquire(s->pool->ledger, ask, &s->slot) == POOL_GRANTED)
			return POOL_GRANTED;
		ask->tried = tried;
	}
	return pool_ledger_acquire(s->pool->ledger, ask, &s->slot);
}

void reach_choose_server(struct session *s)
{
	struct pool_ask ask = {
		.id = s->id,
		.places = s->pool->places,
		.places_n = s->pool->servers_n,
		.now_ms = s->loop->now_ms,
		.tried = not_to_try(s),
		.hash_user = balance_hash(span_of(s->info.user)),
		.hash_source = balance_hash_source(&s->info.client),
		.random = loop_random_fast(s->loop),
	};

	switch (acquire(s, &ask)) {
	case POOL_GRANTED:
		s->facts.queued_ms = 0;
		ledger_add(&s->live->ledger, LEDGER_SLOT);
		SP_ASSERT(s->slot.server < s->pool->servers_n);
		s->server_config = &s->pool->servers[s->slot.server];
		start_reaching(s);
		return;
	case POOL_FULL:
		if (s->stage == LOGON_QUEUED || s->early)
			return;
		if (s->pool->queue_timeout_ms == 0) {
			session_end(s, END_QUEUE_TIMEOUT);
			return;
		}
		if (!pool_ledger_wait_before(s->pool->ledger, &ask, s->policy->queue_priority)) {
			s->no_memory = true;
			return;
		}
		counter_add(s->loop->counters, COUNT_LOGONS_QUEUED, 1);
		s->facts.queued_ms = s->loop->now_ms;
		s->logon->waited_ms = s->loop->now_ms;
		logon_enter(s, LOGON_QUEUED);
		return;
	case POOL_NONE:
		if (s->early)
			return;
		break;
	}
	no_server(s);
}

void reach_on_connect_clock(struct session *s)
{
	if (s->stage == LOGON_DIAL && connect_next(&s->logon->dial)) {
		s->facts.connecting_ms = s->loop->now_ms;
		return;
	}
	reach_failed(s, "connect_timeout");
}

void reach_on_slot(struct session *s)
{
	reach_choose_server(s);
	/* It was told of room that it could not use: somebody behind it may. */
	if (!session_is_over(s) && s->stage == LOGON_QUEUED)
		session_offer_slot(s->loop, pool_ledger_offer(s->pool->ledger, s->loop->now_ms));
}

/* The attempt at this server is over; `otherwise`: the reason to end when there is no other one. */
static void try_next(struct session *s, enum end_reason otherwise)
{
	struct logon *logon = s->logon;

	reach_cancel(s);
	session_drop_server(s, s->server_eof);
	s->facts.command_sent_ms = 0;
	s->facts.slow_command_ms = 0;
	if (s->early) {
		s->early = false;
		s->stage = LOGON_NONE;
		return;
	}
	logon->tries++;
	logon->otherwise = otherwise;
	if (s->pool->tries != 0 && logon->tries >= s->pool->tries) {
		no_server(s);
		return;
	}
	counter_add(s->loop->counters, COUNT_LOGON_RETRIES, 1);
	s->stage = LOGON_NONE;
	reach_choose_server(s);
}

void reach_busy(struct session *s, int code)
{
	s->warm = false; /* the connection was good */
	counter_add(s->loop->counters, COUNT_SERVERS_BUSY, 1);
	logon_emit(s, EVENT_LOGON_RETRY, code, "server has too many users");
	s->logon->tried |= UINT64_C(1) << s->slot.server;
	try_next(s, END_QUEUE_TIMEOUT);
}

void reach_failed(struct session *s, const char *why)
{
	struct logon *logon = s->logon;
	bool under_way = (s->purpose == PURPOSE_LOGON && s->stage != LOGON_REFUSED) || s->early;

	if (logon != NULL && under_way && session_warm_failed(s)) {
		start_reaching(s);
		return;
	}
	if (logon == NULL || !under_way) {
		/* Between a refused logon and the next, or before PASS: nobody needs to know. */
		session_drop_server(s, s->server_eof);
		return;
	}
	counter_add(s->loop->counters, COUNT_SERVER_FAILURES, 1);
	logon_emit(s, EVENT_LOGON_RETRY, 0, why);
	if (s->slot.held) {
		struct sp_event event;

		logon->tried |= UINT64_C(1) << s->slot.server;
		if (pool_ledger_failed(s->pool->ledger, &s->slot, s->loop->now_ms, why)) {
			session_log_event(s, &event, EVENT_SERVER_DOWN);
			sp_copy(event.text, sizeof(event.text), why);
			event_emit(s->loop->events, &event);
		}
	}
	try_next(s, END_NO_SERVER);
}

/* Gives up what was begun for another pool. */
void reach_give_up(struct session *s)
{
	reach_cancel(s);
	session_drop_server(s, s->server_eof);
	s->facts.command_sent_ms = 0;
	s->early = false;
	s->stage = LOGON_NONE;
}

/* --- its greeting ----------------------------------------------------------------- */

/* The server is connected, and protected if it is to be. */
static void ready_for_user(struct session *s)
{
	if (s->early) {
		s->early = false;
		s->stage = LOGON_NONE; /* and waits for USER */
		return;
	}
	logon_send_line(s, LOGON_USER, VERB_USER, s->logon->user_line);
}

static void server_greeted(struct session *s)
{
	s->facts.connecting_ms = 0;
	if (!wants_tls(s))
		ready_for_user(s);
	else if (stream_is_tls(&s->server.stream))
		logon_send_line(s, LOGON_PBSZ, VERB_PBSZ, "PBSZ 0");
	else
		logon_send_line(s, LOGON_AUTH, VERB_AUTH, "AUTH TLS");
}

/* RFC 959 section 5.4: "120 Service ready in nnn minutes."; 0: it does not say when. */
static int64_t promised_ms(struct span text)
{
	int64_t minutes = 0;
	size_t i = 0;

	while (i < text.n && (text.p[i] < '0' || text.p[i] > '9'))
		i++;
	for (size_t digits = 0; digits < 3 && i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; digits++, i++)
		minutes = minutes * 10 + (text.p[i] - '0');
	return minutes * 60 * 1000;
}

/*
 * 120: the server will greet, but not yet. It gets the time that it asks for and
 * connect_timeout anew; but however much that is and however often it says so,
 * it gets no more when reply_timeout is over.
 */
static void server_asks_for_time(struct session *s, struct span text)
{
	int64_t reply_timeout = s->policy->timeouts.reply_timeout;
	int64_t from = s->loop->now_ms + promised_ms(text);

	if (reply_timeout != 0 && from > s->logon->started_ms + reply_timeout)
		from = s->logon->started_ms + reply_timeout;
	if (from > s->facts.connecting_ms)
		s->facts.connecting_ms = from;
}

void reach_on_greeting(struct session *s, const struct reply *reply)
{
	if (reply->code == 120) {
		server_asks_for_time(s, reply->text);
		return;
	}
	if (reply_is_negative(reply->code) && logon_answer_of(reply->code, reply->raw) == LOGON_ANSWER_BUSY) {
		reach_busy(s, reply->code);
		return;
	}
	if (reply->code != 220) {
		reach_failed(s, reply->code == 421 ? "server said 421 instead of greeting"
							  : "server did not greet with 220");
		return;
	}
	server_greeted(s);
}

void reach_on_auth_answer(struct session *s, const struct reply *reply)
{
	const struct server_tls_config *tls = &s->server_config->tls;

	if (reply->code == 234) {
		s->server_tls_begin = true;
		return;
	}
	/* Never in clear without being told to: no silent downgrade. */
	if (tls->mode != SERVER_TLS_AUTO || !tls->allow_plain || reply->code < 500) {
		reach_failed(s, "server refuses AUTH TLS");
		return;
	}
	counter_add(s->loop->counters, COUNT_TLS_DOWNGRADES, 1);
	log_write(s->loop->events, LEVEL_WARNING, "server %s has no TLS and is used in clear (allow_plain)",
		  s->server_config->name);
	ready_for_user(s);
}

void reach_on_prot_answer(struct session *s, const struct reply *reply)
{
	if (!reply_is_positive(reply->code)) {
		reach_failed(s, "server refuses PROT P");
		return;
	}
	s->server_prot = true;
	ready_for_user(s);
}
