// SPDX-License-Identifier: ISC
/*
 * Logon: what the client says from USER on, and what the server answers to it,
 * until 230. The route gives pool and policy; which server it is, and that it
 * can be told USER, is of session_reach.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sallyport/logon_answer.h"
#include "session_private.h"

static void give_answer(struct session *s);
static void on_logon_answer(struct session *s, const struct reply *reply);

void logon_free(struct session *s)
{
	struct logon *logon = s->logon;

	if (logon == NULL)
		return;
	reach_cancel(s);
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

void logon_enter(struct session *s, enum logon_stage stage)
{
	s->stage = stage;
	if (!s->early)
		s->purpose = PURPOSE_LOGON;
}

/* The client is to speak next. */
static void leave(struct session *s, enum logon_stage stage)
{
	s->stage = stage;
	s->logon->asked_ms = s->loop->now_ms;
	session_answered(s);
}

void logon_emit(struct session *s, enum event_kind kind, int code, const char *text)
{
	struct sp_event event;

	session_log_event(s, &event, kind);
	event.code = code;
	sp_copy(event.text, sizeof(event.text), text);
	event_emit(s->loop->events, &event);
}

void logon_send_line(struct session *s, enum logon_stage stage, enum verb verb, const char *line)
{
	/* How long a client looks for its password says nothing of the server. */
	if (s->logon->asked_ms != 0)
		s->logon->started_ms += s->loop->now_ms - s->logon->asked_ms;
	s->logon->asked_ms = 0;
	logon_enter(s, stage);
	session_to_server(s, s->early ? PURPOSE_NONE : PURPOSE_LOGON, verb, span_of(line));
}

/* --- what the client says -------------------------------------------------------- */

static void refuse_user(struct session *s, const char *why)
{
	counter_add(s->loop->counters, COUNT_LOGONS_REFUSED, 1);
	logon_emit(s, EVENT_LOGON_FAILED, 530, why);
	if (!identity_is_guarded(s)) {
		session_say(s, 530, "Not logged on.");
		command_error(s);
		return;
	}
	reach_give_up(s);
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
		reach_give_up(s);
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
		s->logon->started_ms = s->loop->now_ms;
		s->logon->asked_ms = 0;
		logon_send_line(s, LOGON_USER, VERB_USER, s->logon->user_line);
		return;
	}
	s->stage = LOGON_NONE;
	reach_choose_server(s);
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
		logon_emit(s, EVENT_LOGON_FAILED, 530, "a server has refused this password before");
		identity_refuse(s);
		return;
	}
	if (stream_is_open(&s->server.stream)) {
		/* Where the client was asked by us, the server has not heard of USER. */
		if (identity_is_guarded(s))
			logon_send_line(s, LOGON_USER, VERB_USER, s->logon->user_line);
		else
			logon_send_line(s, LOGON_PASS, VERB_PASS, s->logon->pass_line);
		return;
	}
	s->stage = LOGON_NONE;
	reach_choose_server(s);
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
		logon_send_line(s, LOGON_ACCT, VERB_ACCT, s->logon->acct_line);
		return;
	}
	s->stage = LOGON_NONE;
	reach_choose_server(s);
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
	logon_emit(s, EVENT_LOGON, 230, text);
}

/* In microseconds; one that took no time by our clock took half a millisecond: 0 says that it is not known. */
static int64_t response_time(const struct session *s)
{
	return sp_max64((s->loop->now_ms - s->logon->started_ms) * 1000, 500);
}

static void server_is_back(struct session *s)
{
	logon_emit(s, EVENT_SERVER_UP, 0, "it answered a logon");
	feature_memory_want(pool_ledger_features(s->pool->ledger), s->slot.place);
}

static void logged_on(struct session *s)
{
	s->phase = PHASE_READY;
	s->facts.logged_on_ms = s->loop->now_ms;
	s->facts.last_transfer_ms = s->loop->now_ms;
	leave(s, LOGON_NONE);
	counter_add(s->loop->counters, COUNT_LOGONS, 1);
	if (pool_ledger_served(s->pool->ledger, &s->slot, response_time(s)))
		server_is_back(s);
	session_publish(s);
	session_say_now(s);
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
	logon_send_line(s, LOGON_UTF8, VERB_OPTS, "OPTS UTF8 ON");
}

static void on_refused(struct session *s, const struct reply *reply)
{
	bool hidden = identity_is_guarded(s) && s->stage != LOGON_ACCT;

	counter_add(s->loop->counters, COUNT_LOGONS_FAILED, 1);
	logon_emit(s, EVENT_LOGON_FAILED, reply->code, "the server refused");
	/* That is an answer: it works, whoever this is. */
	if (s->slot.held && pool_ledger_served(s->pool->ledger, &s->slot, 0))
		server_is_back(s);
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

static void on_negative(struct session *s, const struct reply *reply)
{
	switch (logon_answer_of(reply->code, reply->raw)) {
	case LOGON_ANSWER_REFUSED:
		on_refused(s, reply);
		return;
	case LOGON_ANSWER_BUSY:
		reach_busy(s, reply->code);
		return;
	case LOGON_ANSWER_FAILED:
		break;
	}
	reach_failed(s, "server said 421 at logon");
}

static void on_wants_password(struct session *s, const struct reply *reply)
{
	if (s->logon->pass_line != NULL) {
		logon_send_line(s, LOGON_PASS, VERB_PASS, s->logon->pass_line);
		return;
	}
	session_to_client(s, reply->raw);
	s->logon->text_open = false; /* this ends it as well */
	leave(s, LOGON_PASSWORD);
}

static void on_wants_account(struct session *s, const struct reply *reply)
{
	if (identity_know_account(s)) {
		logon_send_line(s, LOGON_ACCT, VERB_ACCT, s->logon->acct_line);
		return;
	}
	session_to_client(s, reply->raw);
	leave(s, LOGON_ACCOUNT);
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
		reach_failed(s, "server's answer at logon makes no sense");
}

void logon_on_reply(struct session *s, const struct reply *reply)
{
	s->facts.command_sent_ms = 0;
	s->facts.slow_command_ms = 0;
	if (reply->code != 421)
		s->warm = false;
	switch (s->stage) {
	case LOGON_GREETING:
		reach_on_greeting(s, reply);
		return;
	case LOGON_AUTH:
		reach_on_auth_answer(s, reply);
		return;
	case LOGON_PBSZ:
		/* Whatever it says of the buffer's size: PROT decides. */
		logon_send_line(s, LOGON_PROT, VERB_PROT, "PROT P");
		return;
	case LOGON_PROT:
		reach_on_prot_answer(s, reply);
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
