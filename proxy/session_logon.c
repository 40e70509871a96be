// SPDX-License-Identifier: ISC
/*
 * Logon: from USER to 230. The route gives pool and policy; the pool's ledger
 * gives a server; the server is dialled and told what the client has said so
 * far. A server that fails on the way is replaced by the next one and the
 * client sees nothing of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/logon_answer.h"
#include "session_private.h"

static void server_greeted(struct session *s);
static void give_answer(struct session *s);
static void on_logon_answer(struct session *s, const struct reply *reply);

static void cancel_attempt(struct session *s)
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

void logon_free(struct session *s)
{
	struct logon *logon = s->logon;

	if (logon == NULL)
		return;
	cancel_attempt(s);
	identity_wipe(logon);
	free(logon->held);
	waiting_forget_answer(logon);
	free(logon);
	s->logon = NULL;
	ledger_sub(&s->live->ledger, LEDGER_BUFFER);
}

bool logon_begin(struct session *s)
{
	if (s->logon == NULL) {
		s->logon = calloc(1, sizeof(*s->logon));
		if (s->logon == NULL) {
			s->no_memory = true;
			return false;
		}
		ledger_add(&s->live->ledger, LEDGER_BUFFER);
		connect_init(&s->logon->dial);
	}
	s->logon->tried = 0;
	s->logon->tries = 0;
	s->logon->otherwise = END_NO_SERVER;
	s->logon->unknown = false;
	s->logon->text_open = false;
	waiting_forget_answer(s->logon);
	identity_forget_secrets(s->logon);
	return true;
}

/* The client waits for the end of this step; its further commands are queued. */
static void enter(struct session *s, enum logon_stage stage)
{
	s->stage = stage;
	if (!s->early)
		s->purpose = PURPOSE_LOGON;
}

/* The client is to speak next. */
static void leave(struct session *s, enum logon_stage stage)
{
	s->stage = stage;
	session_answered(s);
}

static void emit_logon(struct session *s, enum event_kind kind, int code, const char *text)
{
	struct sp_event event;

	session_log_event(s, &event, kind);
	event.code = code;
	sp_copy(event.text, sizeof(event.text), text);
	event_emit(s->loop->events, &event);
}

/* --- the server ----------------------------------------------------------------- */

static void send_line(struct session *s, enum logon_stage stage, enum verb verb, const char *line)
{
	enter(s, stage);
	session_to_server(s, s->early ? PURPOSE_NONE : PURPOSE_LOGON, verb, span_of(line));
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
		logon_server_failed(s, tls_error());
	} else if (s->server_config->tls.mode == SERVER_TLS_IMPLICIT) {
		enter(s, LOGON_GREETING);
	} else {
		s->facts.connecting_ms = 0;
		send_line(s, LOGON_PBSZ, VERB_PBSZ, "PBSZ 0");
	}
	session_settle(s);
}

const char *logon_server_name(const struct session *s)
{
	const struct server_config *server = s->server_config;

	return server->tls.name != NULL ? server->tls.name : server->host;
}

void logon_secure_server(struct session *s)
{
	s->server_tls_begin = false;
	s->server_securing = true;
	s->facts.connecting_ms = s->loop->now_ms;
	enter(s, LOGON_TLS);
	if (tls_connect(&s->server.stream, s->server_config->tls.context, logon_server_name(s), NULL,
			on_server_secured, s) != 0) {
		s->server_securing = false;
		s->no_memory = true;
	}
}

/* A server that speaks first has spoken: that is how we know that it is connected. */
static void await_greeting(struct session *s)
{
	enter(s, LOGON_GREETING);
	if (s->server_config->proxy_protocol == SERVER_PROXY_NONE)
		session_read_server(s);
}

static void on_dialled(void *owner, int fd, const struct netaddr *address, int error)
{
	struct session *s = owner;

	s->loop->now_ms = sp_now_ms();
	if (fd < 0) {
		s->info.server = *address;
		logon_server_failed(s, strerror(error));
	} else {
		counter_add(s->loop->counters, COUNT_SERVER_CONNECTS, 1);
		session_set_server(s, fd, address);
		if (s->server_config->proxy_protocol != SERVER_PROXY_NONE &&
		    !session_send_header(s, &s->server.stream))
			logon_server_failed(s, "the PROXY header could not be sent");
		else if (s->server_config->tls.mode == SERVER_TLS_IMPLICIT)
			logon_secure_server(s);
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
		.keepalive = true,
		/* Unless it is we who begin: with a handshake, or with a PROXY header. */
		.speaks_first = server->tls.mode != SERVER_TLS_IMPLICIT &&
				server->proxy_protocol == SERVER_PROXY_NONE,
	};

	enter(s, LOGON_DIAL);
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
		logon_server_failed(s, error != NULL ? error : "name has no address that may be used");
	else
		dial(s, usable, n);
	session_settle(s);
}

static void reach_server(struct session *s)
{
	const struct server_config *server = s->server_config;

	s->facts.connecting_ms = s->loop->now_ms;
	s->logon->started_ms = s->loop->now_ms;
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
	enter(s, LOGON_LOOKUP);
}

static void no_server(struct session *s)
{
	counter_add(s->loop->counters, COUNT_NO_SERVER, 1);
	emit_logon(s, EVENT_LOGON_FAILED, 421, "no server is left");
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

void logon_choose_server(struct session *s)
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
		reach_server(s);
		return;
	case POOL_FULL:
		if (s->stage == LOGON_QUEUED || s->early)
			return;
		if (s->pool->queue_timeout_ms == 0) {
			session_end(s, END_QUEUE_TIMEOUT);
			return;
		}
		if (!pool_ledger_wait_before(s->pool->ledger, s->id, s->policy->queue_priority)) {
			s->no_memory = true;
			return;
		}
		s->facts.queued_ms = s->loop->now_ms;
		s->logon->waited_ms = s->loop->now_ms;
		enter(s, LOGON_QUEUED);
		return;
	case POOL_NONE:
		if (s->early)
			return;
		break;
	}
	no_server(s);
}

void logon_on_connect_clock(struct session *s)
{
	if (s->stage == LOGON_DIAL && connect_next(&s->logon->dial)) {
		s->facts.connecting_ms = s->loop->now_ms;
		return;
	}
	logon_server_failed(s, "connect_timeout");
}

void logon_on_slot(struct session *s)
{
	logon_choose_server(s);
}

/* The attempt at this server is over; `otherwise`: the reason to end when there is no other one. */
static void try_next(struct session *s, enum end_reason otherwise)
{
	struct logon *logon = s->logon;

	cancel_attempt(s);
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
	logon_choose_server(s);
}

void logon_server_failed(struct session *s, const char *why)
{
	struct logon *logon = s->logon;
	bool under_way = (s->purpose == PURPOSE_LOGON && s->stage != LOGON_REFUSED) || s->early;

	if (logon != NULL && under_way && session_warm_failed(s)) {
		reach_server(s);
		return;
	}
	if (logon == NULL || !under_way) {
		/* Between a refused logon and the next, or before PASS: nobody needs to know. */
		session_drop_server(s, s->server_eof);
		return;
	}
	counter_add(s->loop->counters, COUNT_SERVER_FAILURES, 1);
	emit_logon(s, EVENT_LOGON_RETRY, 0, why);
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

/* --- what the client says -------------------------------------------------------- */

/* Gives up what was begun for another pool. */
void logon_give_up_server(struct session *s)
{
	cancel_attempt(s);
	session_drop_server(s, s->server_eof);
	s->facts.command_sent_ms = 0;
	s->early = false;
	s->stage = LOGON_NONE;
}

static void refuse_user(struct session *s, const char *why)
{
	counter_add(s->loop->counters, COUNT_LOGONS_REFUSED, 1);
	emit_logon(s, EVENT_LOGON_FAILED, 530, why);
	if (!identity_is_guarded(s)) {
		session_say(s, 530, "Not logged on.");
		command_error(s);
		return;
	}
	logon_give_up_server(s);
	if (!logon_begin(s))
		return;
	s->logon->unknown = true;
	identity_ask_password(s);
}

struct route_facts logon_facts(const struct session *s, struct span user)
{
	struct route_facts facts = {
		.listener = s->listener->name,
		.source = s->info.client,
		.user = user,
		.host = span_of(s->host),
		.certificate = span_of(s->certificate),
	};

	if (s->config->routes_use_time) {
		time_t now = (time_t)(sp_wall_ms() / 1000);
		struct tm local;

		if (localtime_r(&now, &local) != NULL)
			facts.minute_of_week = route_minute_of_week(&local);
	}
	return facts;
}

/* The rule for this user (p == NULL: not known yet); -1: none, and *why says so. */
static int find_route(struct session *s, struct span user, struct route_choice *choice)
{
	struct route_facts facts = logon_facts(s, user);

	return route_choose(s->config->routes, s->config->routes_n, &facts, choice);
}

static void take_route(struct session *s, const struct route_choice *choice)
{
	const struct config *config = s->config;

	s->pool = &config->pools[choice->pool];
	s->only_server = choice->server;
	s->policy = &config->policies[choice->policy];
}

void logon_foresee(struct session *s)
{
	struct route_choice choice;

	if (find_route(s, span_from(NULL, 0), &choice) >= 0)
		take_route(s, &choice);
}

/* `tls = client`, and the client has protected its connection since the server's was made in clear. */
static bool is_stale(const struct session *s)
{
	return stream_is_open(&s->server.stream) && !s->early && s->server_config != NULL &&
	       s->server_config->tls.mode == SERVER_TLS_CLIENT &&
	       stream_is_tls(&s->client.stream) != stream_is_tls(&s->server.stream);
}

/* Is the server that there may be already one for this route? */
static bool is_for(const struct session *s, const struct route_choice *choice)
{
	if (s->pool == NULL)
		return true;
	return s->pool == &s->config->pools[choice->pool] &&
	       (choice->server == ROUTE_ANY_SERVER || !s->slot.held ||
		(pool_server_group(s->pool, choice->server) >> s->slot.server & 1) != 0);
}

void logon_user(struct session *s, struct span line, struct span name)
{
	struct route_choice choice;
	int rule = find_route(s, name, &choice);

	(void)span_copy(s->info.user, sizeof(s->info.user), name);
	if (rule < 0) {
		refuse_user(s, choice.result == ROUTE_REJECTED ? "rejected by a route" : "no route");
		return;
	}
	if (!is_for(s, &choice) || is_stale(s))
		logon_give_up_server(s);
	take_route(s, &choice);
	logon_not_ahead(s);
	if (!logon_begin(s) || !identity_take_user(s, &s->config->routes[rule], line, name)) {
		s->no_memory = true;
		return;
	}
	if (!logon_by_certificate(s, name))
		return;
	if (identity_is_guarded(s) && !s->logon->by_certificate) {
		identity_ask_password(s);
		return;
	}
	if (s->early) {
		/* The connection is under way already: its greeting goes on from here. */
		s->early = false;
		s->purpose = PURPOSE_LOGON;
		return;
	}
	if (stream_is_open(&s->server.stream)) {
		s->warm = true; /* it has waited for this, perhaps too long */
		send_line(s, LOGON_USER, VERB_USER, s->logon->user_line);
		return;
	}
	s->stage = LOGON_NONE;
	logon_choose_server(s);
}

void logon_pass(struct session *s, struct span line)
{
	if (s->stage != LOGON_PASSWORD) {
		session_say(s, 503, "Login with USER first.");
		command_error(s);
		return;
	}
	s->logon->password_ms = s->loop->now_ms;
	if (s->logon->unknown) {
		identity_refuse(s);
		return;
	}
	if (!identity_take_password(s, line)) {
		s->no_memory = true;
		return;
	}
	if (s->logon->answer_code != 0 && stream_is_open(&s->server.stream)) {
		give_answer(s);
		return;
	}
	if (memory_knows_refusal(s)) {
		counter_add(s->loop->counters, COUNT_LOGONS_REFUSED, 1);
		emit_logon(s, EVENT_LOGON_FAILED, 530, "a server has refused this password before");
		identity_refuse(s);
		return;
	}
	if (stream_is_open(&s->server.stream)) {
		/* Where the client was asked by us, the server has not heard of USER. */
		if (identity_is_guarded(s))
			send_line(s, LOGON_USER, VERB_USER, s->logon->user_line);
		else
			send_line(s, LOGON_PASS, VERB_PASS, s->logon->pass_line);
		return;
	}
	s->stage = LOGON_NONE;
	logon_choose_server(s);
}

void logon_acct(struct session *s, struct span line)
{
	if (s->stage != LOGON_ACCOUNT) {
		session_say(s, 503, "Login with USER first.");
		command_error(s);
		return;
	}
	if (!identity_take_account(s, line)) {
		s->no_memory = true;
		return;
	}
	if (stream_is_open(&s->server.stream)) {
		send_line(s, LOGON_ACCT, VERB_ACCT, s->logon->acct_line);
		return;
	}
	s->stage = LOGON_NONE;
	logon_choose_server(s);
}

/* --- what the server answers ------------------------------------------------------- */

/* " client=TLSv1.3/TLS_AES_256_GCM_SHA384": nothing for a connection in clear. */
static void describe_leg(char *to, size_t size, const char *leg, const struct stream *stream)
{
	struct tls_facts facts;
	size_t at = strlen(to);

	if (!stream_is_tls(stream))
		return;
	tls_facts(stream, &facts);
	snprintf(to + at, size - at, "%s%s=%s/%s", at > 0 ? " " : "", leg, facts.version, facts.cipher);
}

static void emit_logged_on(struct session *s)
{
	char text[200] = "";

	describe_leg(text, sizeof(text), "client", &s->client.stream);
	describe_leg(text, sizeof(text), "server", &s->server.stream);
	if (s->logon->by_certificate)
		sp_copy(text + strlen(text), sizeof(text) - strlen(text), " by=certificate");
	emit_logon(s, EVENT_LOGON, 230, text);
}

static void server_is_back(struct session *s)
{
	emit_logon(s, EVENT_SERVER_UP, 0, "a logon succeeded");
	feature_memory_want(pool_ledger_features(s->pool->ledger), s->slot.place);
}

static void logged_on(struct session *s)
{
	s->phase = PHASE_READY;
	s->facts.logged_on_ms = s->loop->now_ms;
	s->facts.last_transfer_ms = s->loop->now_ms;
	leave(s, LOGON_NONE);
	counter_add(s->loop->counters, COUNT_LOGONS, 1);
	if (pool_ledger_served(s->pool->ledger, &s->slot, (s->loop->now_ms - s->logon->started_ms) * 1000))
		server_is_back(s);
	session_publish(s);
	emit_logged_on(s);
	memory_note_server(s);
	logon_free(s);
	feat_ask(s);
}

/* What the client is told of its logon. RFC 2228 section 3: without a password it is 232. */
static void tell_logged_on(struct session *s, struct span reply)
{
	s->needs_no_password = s->logon->by_certificate;
	if (s->logon->by_certificate)
		session_reply(s, 232, "User %s logged on, authorized by certificate.", s->info.user);
	else
		session_to_client(s, reply);
	logged_on(s);
}

static void on_accepted(struct session *s, const struct reply *reply)
{
	if (!s->utf8_on) {
		tell_logged_on(s, reply->raw);
		return;
	}
	s->logon->held = malloc(reply->raw.n);
	if (s->logon->held == NULL) {
		s->no_memory = true;
		return;
	}
	memcpy(s->logon->held, reply->raw.p, reply->raw.n);
	s->logon->held_n = reply->raw.n;
	send_line(s, LOGON_UTF8, VERB_OPTS, "OPTS UTF8 ON");
}

static void on_refused(struct session *s, const struct reply *reply)
{
	bool hidden = identity_is_guarded(s) && s->stage != LOGON_ACCT;

	counter_add(s->loop->counters, COUNT_LOGONS_FAILED, 1);
	emit_logon(s, EVENT_LOGON_FAILED, reply->code, "the server refused");
	if (reply->code == 530 && s->stage == LOGON_PASS)
		memory_note_refusal(s);
	if (hidden) {
		identity_refuse(s);
		return;
	}
	/* A 421 would tell the client that it is over. */
	if (reply->code == 421)
		session_say(s, 530, "Not logged on.");
	else
		session_to_client(s, reply->raw);
	identity_forget_secrets(s->logon);
	leave(s, LOGON_NONE);
	command_error(s);
}

/* It works, and has no room: it has not failed, but this logon goes to the next one. */
static void on_busy(struct session *s, int code)
{
	s->warm = false; /* the connection was good */
	counter_add(s->loop->counters, COUNT_SERVERS_BUSY, 1);
	emit_logon(s, EVENT_LOGON_RETRY, code, "server has too many users");
	s->logon->tried |= UINT64_C(1) << s->slot.server;
	try_next(s, END_QUEUE_TIMEOUT);
}

static void on_negative(struct session *s, const struct reply *reply)
{
	switch (logon_answer_of(reply->code, reply->raw)) {
	case LOGON_ANSWER_REFUSED:
		on_refused(s, reply);
		return;
	case LOGON_ANSWER_BUSY:
		on_busy(s, reply->code);
		return;
	case LOGON_ANSWER_FAILED:
		break;
	}
	logon_server_failed(s, "server said 421 at logon");
}

static void on_wants_password(struct session *s, const struct reply *reply)
{
	if (s->logon->pass_line != NULL) {
		send_line(s, LOGON_PASS, VERB_PASS, s->logon->pass_line);
		return;
	}
	session_to_client(s, reply->raw);
	s->logon->text_open = false; /* this ends it as well */
	leave(s, LOGON_PASSWORD);
}

static void on_wants_account(struct session *s, const struct reply *reply)
{
	if (identity_know_account(s)) {
		send_line(s, LOGON_ACCT, VERB_ACCT, s->logon->acct_line);
		return;
	}
	session_to_client(s, reply->raw);
	leave(s, LOGON_ACCOUNT);
}

/* The server is connected, and protected if it is to be. */
static void ready_for_user(struct session *s)
{
	if (s->early) {
		s->early = false;
		s->stage = LOGON_NONE; /* and waits for USER */
		return;
	}
	send_line(s, LOGON_USER, VERB_USER, s->logon->user_line);
}

static void server_greeted(struct session *s)
{
	s->facts.connecting_ms = 0;
	if (!wants_tls(s))
		ready_for_user(s);
	else if (stream_is_tls(&s->server.stream))
		send_line(s, LOGON_PBSZ, VERB_PBSZ, "PBSZ 0");
	else
		send_line(s, LOGON_AUTH, VERB_AUTH, "AUTH TLS");
}

static void on_greeting(struct session *s, const struct reply *reply)
{
	if (reply->code == 120) {
		s->facts.connecting_ms = s->loop->now_ms;
		return;
	}
	if (reply_is_negative(reply->code) && logon_answer_of(reply->code, reply->raw) == LOGON_ANSWER_BUSY) {
		on_busy(s, reply->code);
		return;
	}
	if (reply->code != 220) {
		logon_server_failed(s, reply->code == 421 ? "server said 421 instead of greeting"
							  : "server did not greet with 220");
		return;
	}
	server_greeted(s);
}

static void on_auth_answer(struct session *s, const struct reply *reply)
{
	const struct server_tls_config *tls = &s->server_config->tls;

	if (reply->code == 234) {
		s->server_tls_begin = true;
		return;
	}
	/* Never in clear without being told to: no silent downgrade. */
	if (tls->mode != SERVER_TLS_AUTO || !tls->allow_plain || reply->code < 500) {
		logon_server_failed(s, "server refuses AUTH TLS");
		return;
	}
	counter_add(s->loop->counters, COUNT_TLS_DOWNGRADES, 1);
	log_write(s->loop->events, LEVEL_WARNING, "server %s has no TLS and is used in clear (allow_plain)",
		  s->server_config->name);
	ready_for_user(s);
}

static void on_prot_answer(struct session *s, const struct reply *reply)
{
	if (!reply_is_positive(reply->code)) {
		logon_server_failed(s, "server refuses PROT P");
		return;
	}
	s->server_prot = true;
	ready_for_user(s);
}

/* An answer that is the client's, not one for which the next server is tried. */
static bool leads_nowhere_else(const struct reply *reply)
{
	return reply_is_positive(reply->code) || reply->code == 332 ||
	       (reply_is_negative(reply->code) &&
		logon_answer_of(reply->code, reply->raw) == LOGON_ANSWER_REFUSED);
}

/* The answer to USER that the client gets to its PASS. */
static void give_answer(struct session *s)
{
	struct logon *logon = s->logon;
	const struct reply reply = { .code = logon->answer_code, .raw = span_from(logon->answer, logon->answer_n) };

	s->stage = LOGON_PASS;
	s->purpose = PURPOSE_LOGON;
	logon->answer_code = 0;
	on_logon_answer(s, &reply);
}

/* An answer to USER, PASS or ACCT (RFC 959 section 5.4). */
static void on_logon_answer(struct session *s, const struct reply *reply)
{
	bool to_user = s->stage == LOGON_USER;

	if (s->logon->text_open && reply->code != 331 && leads_nowhere_else(reply)) {
		waiting_keep_answer(s, reply);
		return;
	}
	if (reply_is_positive(reply->code))
		on_accepted(s, reply);
	else if (reply->code == 331 && to_user)
		on_wants_password(s, reply);
	else if (reply->code == 332 && s->stage != LOGON_ACCT)
		on_wants_account(s, reply);
	else if (reply_is_negative(reply->code))
		on_negative(s, reply);
	else
		logon_server_failed(s, "server's answer at logon makes no sense");
}

void logon_on_reply(struct session *s, const struct reply *reply)
{
	s->facts.command_sent_ms = 0;
	s->facts.slow_command_ms = 0;
	if (reply->code != 421)
		s->warm = false;
	switch (s->stage) {
	case LOGON_GREETING:
		on_greeting(s, reply);
		return;
	case LOGON_AUTH:
		on_auth_answer(s, reply);
		return;
	case LOGON_PBSZ:
		/* Whatever it says of the buffer's size: PROT decides. */
		send_line(s, LOGON_PROT, VERB_PROT, "PROT P");
		return;
	case LOGON_PROT:
		on_prot_answer(s, reply);
		return;
	case LOGON_USER:
	case LOGON_PASS:
	case LOGON_ACCT:
		on_logon_answer(s, reply);
		return;
	case LOGON_UTF8:
		tell_logged_on(s, span_from(s->logon->held, s->logon->held_n));
		return;
	case LOGON_NONE:
	case LOGON_QUEUED:
	case LOGON_LOOKUP:
	case LOGON_DIAL:
	case LOGON_TLS:
	case LOGON_PASSWORD:
	case LOGON_ACCOUNT:
	case LOGON_REFUSED:
		break;
	}
	/* Nobody asked: the server says goodbye (421) or is mad; another one will be found. */
	session_drop_server(s, true);
}
