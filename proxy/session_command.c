// SPDX-License-Identifier: ISC
/*
 * What a command does: the verdict of policy, then the action of its row in
 * the verb table; and what is done with the server's reply to it.
 */
#include <stdlib.h>

#include "session_private.h"

void command_error(struct session *s)
{
	s->errors++;
	if (s->policy->max_errors != 0 && s->errors >= s->policy->max_errors)
		session_end(s, END_TOO_MANY_ERRORS);
}

static void bad(struct session *s, int code, const char *text)
{
	counter_add(s->loop->counters, COUNT_COMMANDS_BAD, 1);
	session_say(s, code, text);
	command_error(s);
}

static void refused(struct session *s, const struct command *command, const struct verdict *verdict)
{
	struct sp_event event;

	session_say(s, verdict->code, verdict->text);
	if (verdict->denied) {
		counter_add(s->loop->counters, COUNT_COMMANDS_DENIED, 1);
		session_log_event(s, &event, EVENT_COMMAND_DENIED);
		event.verb = command->verb;
		event.code = verdict->code;
		(void)span_copy(event.text, sizeof(event.text), command->name);
		event_emit(s->loop->events, &event);
	} else {
		counter_add(s->loop->counters, COUNT_COMMANDS_BAD, 1);
	}
	if (verdict->counts_as_error)
		command_error(s);
}

/* A browser or a script that takes us for a web server (ALPACA and the like). */
static bool is_cross_protocol(const struct command *command)
{
	static const char *const methods[] = { "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT",
					       "PATCH", "DELETE", "TRACE", "EHLO", "HELO" };

	/* None of them is a verb of ours. */
	for (size_t i = 0; i < SP_ARRAY_LEN(methods) && command->verb == VERB_UNKNOWN; i++) {
		if (span_eq(command->name, span_of(methods[i])))
			return true;
	}
	return false;
}

/* --- answered here ---------------------------------------------------------------- */

static void local_opts(struct session *s, struct span argument)
{
	if (span_eq_nocase(argument, span_of("UTF8 ON")) || span_eq_nocase(argument, span_of("UTF8"))) {
		s->utf8_on = true;
		session_say(s, 200, "UTF8 is on.");
	} else if (span_starts_nocase(argument, "UTF8 ")) {
		session_say(s, 504, "UTF8 can only be switched ON.");
	} else {
		session_say(s, 530, "Please log on with USER and PASS.");
	}
}

/* What can be said before a server is known. */
static void answer_local(struct session *s, const struct command *command)
{
	switch ((int)command->verb) {
	case VERB_FEAT:
		feat_answer(s);
		return;
	case VERB_OPTS:
		local_opts(s, command->argument);
		return;
	case VERB_SYST:
		session_say(s, 215, "UNIX Type: L8");
		return;
	case VERB_HELP:
		session_say(s, 214, "Log on with USER and PASS.");
		return;
	default:
		session_say(s, 200, "OK.");
		return;
	}
}

/* --- RFC 2228 and 4217 ----------------------------------------------------------------- */

/* Now: CCC may have taken it away. */
static bool is_protected(const struct session *s)
{
	return stream_is_tls(&s->client.stream);
}

static void auth(struct session *s, struct span mechanism)
{
	static const char *const known[] = { "TLS", "TLS-C", "SSL", "TLS-P" };
	size_t i = 0;

	if (s->listener->tls.mode == TLS_NONE) {
		bad(s, 502, "TLS is not available on this listener.");
		return;
	}
	while (i < SP_ARRAY_LEN(known) && !span_eq_nocase(mechanism, span_of(known[i])))
		i++;
	if (i == SP_ARRAY_LEN(known)) {
		bad(s, 504, "Use AUTH TLS.");
		return;
	}
	if (is_protected(s)) {
		bad(s, 503, "The control connection is protected already.");
		return;
	}
	if (s->phase == PHASE_READY || s->purpose != PURPOSE_NONE) {
		bad(s, 503, "AUTH must come before the logon.");
		return;
	}
	/* Half a line counts too: its other half would come protected. */
	if (!queue_is_empty(s) || line_is_partial(&s->lines)) {
		session_end(s, END_TLS_INJECTION);
		return;
	}
	if (session_handshakes_are_full(s->loop)) {
		counter_add(s->loop->counters, COUNT_TLS_REFUSED, 1);
		session_say(s, 431, "Too many TLS handshakes; try again later.");
		return;
	}
	/* A USER that was said in clear counts no more (RFC 4217 section 4.2). */
	if (!s->early)
		s->stage = LOGON_NONE;
	s->prot_p = i >= 2; /* RFC 4217 section 17: SSL and TLS-P protect data connections too */
	s->tls_begin = true;
	session_reply(s, 234, "AUTH %s accepted.", known[i]);
}

static void pbsz(struct session *s, struct span size)
{
	for (size_t i = 0; i < size.n; i++) {
		if (size.p[i] < '0' || size.p[i] > '9') {
			bad(s, 501, "PBSZ takes a number.");
			return;
		}
	}
	s->pbsz = true;
	session_say(s, 200, "PBSZ=0");
}

static void prot(struct session *s, struct span level)
{
	if (!s->pbsz) {
		bad(s, 503, "PBSZ must come first.");
	} else if (span_eq_nocase(level, span_of("P"))) {
		s->prot_p = true;
		session_say(s, 200, "Data connections will be protected.");
	} else if (span_eq_nocase(level, span_of("C"))) {
		if (s->listener->tls.required_data) {
			bad(s, 534, "Data connections must be protected here.");
			return;
		}
		s->prot_p = false;
		session_say(s, 200, "Data connections will be in clear.");
	} else if (span_eq_nocase(level, span_of("S")) || span_eq_nocase(level, span_of("E"))) {
		bad(s, 536, "TLS knows the levels C and P only.");
	} else {
		bad(s, 504, "The level is C or P.");
	}
}

/*
 * Only behind the logon: a password is never said in clear for it. Commands that
 * were sent behind it, before its reply, would be neither protected nor clear.
 */
static void ccc(struct session *s)
{
	if (!s->policy->allow_ccc) {
		bad(s, 534, "The control connection stays protected.");
	} else if (s->phase != PHASE_READY) {
		bad(s, 503, "Log on first.");
	} else {
		s->clear_begin = true;
		session_reply(s, 200, "The control connection goes on in clear.");
	}
}

/* After CCC nothing of this is of use any more, but data connections may be protected or not as before. */
static bool is_level(enum verb verb)
{
	return verb == VERB_PBSZ || verb == VERB_PROT;
}

static void answer_security(struct session *s, const struct command *command)
{
	if (command->verb == VERB_AUTH) {
		auth(s, command->argument);
	} else if (!is_protected(s) && !(session_was_protected(s) && is_level(command->verb))) {
		bad(s, command->verb == VERB_CCC ? 533 : 503,
		    command->verb == VERB_CCC ? "The control connection is not protected."
					      : "Use AUTH first.");
	} else if (command->verb == VERB_PBSZ) {
		pbsz(s, command->argument);
	} else if (command->verb == VERB_PROT) {
		prot(s, command->argument);
	} else if (command->verb == VERB_CCC) {
		ccc(s);
	} else {
		bad(s, 503, "TLS has no use for this command.");
	}
}

/* `tls = required`: nothing of a logon may be said in clear. True: it has been refused. */
static bool lacks_tls(struct session *s)
{
	if (s->listener->tls.mode != TLS_REQUIRED || is_protected(s))
		return false;
	bad(s, 530, "TLS is required: use AUTH TLS first.");
	return true;
}

/* Whether any route that is open to this client could be meant by the name. */
static bool known_host(const struct session *s, struct span host)
{
	struct route_facts facts = {
		.listener = s->listener->name,
		.source = s->info.client,
		.host = host,
	};

	for (size_t i = 0; i < s->config->routes_n; i++) {
		switch (route_mismatch(&s->config->routes[i], &facts)) {
		case ROUTE_FIELD_LISTENER:
		case ROUTE_FIELD_SOURCE:
		case ROUTE_FIELD_HOST:
			break;
		case ROUTE_FIELD_CERTIFICATE:
		case ROUTE_FIELD_TIME:
		case ROUTE_FIELD_USER:
		case ROUTE_FIELD_MAP:
		case ROUTE_FIELD_NONE:
			return true;
		}
	}
	return false;
}

/* RFC 7151 section 3.2. */
static void take_host(struct session *s, struct span host)
{
	char *copy;

	if (s->info.user[0] != '\0') {
		bad(s, 503, "HOST must come before USER.");
		return;
	}
	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = span_from(host.p + 1, host.n - 2);
	if (!known_host(s, host)) {
		bad(s, 504, "That host is not served here.");
		return;
	}
	copy = malloc(host.n + 1);
	if (copy == NULL) {
		s->no_memory = true;
		return;
	}
	(void)span_copy(copy, host.n + 1, host);
	free(s->host);
	s->host = copy;
	session_say(s, 220, "Host accepted.");
}

/*
 * In blocks or compressed (RFC 959 section 3.4) the end of a file is not the
 * end of its data connection, which stays open for the next one; here the end
 * of the connection is what tells a whole file from a part of it.
 */
static bool is_stream_mode(struct span mode)
{
	return span_eq_nocase(mode, span_of("S"));
}

/* --- the actions -------------------------------------------------------------------- */

static void forward(struct session *s, const struct command *command, struct span line)
{
	transfer_dial_server(s);
	s->utf8_asked = command->verb == VERB_OPTS && span_starts_nocase(command->argument, "UTF8");
	session_to_server(s, command->verb == VERB_QUIT ? PURPOSE_QUIT : PURPOSE_COMMAND, command->verb,
			  line);
}

static void quit(struct session *s, const struct command *command, struct span line)
{
	if (s->phase == PHASE_READY && stream_is_open(&s->server.stream)) {
		forward(s, command, line);
		return;
	}
	session_drop_server(s, s->server_eof);
	session_say(s, 221, "Goodbye.");
	session_end(s, END_CLIENT_QUIT);
}

static void act(struct session *s, const struct command *command, struct span line)
{
	bool ready = s->phase == PHASE_READY;

	switch (verb_row(command->verb)->action) {
	case VERB_ACTION_USER:
		if (ready)
			bad(s, 503, "Already logged on; reconnect to log on as another user.");
		else if (!lacks_tls(s))
			logon_user(s, line, command->argument);
		return;
	case VERB_ACTION_PASS:
		if (s->needs_no_password)
			session_reply(s, 202, "No password is needed: your certificate stands for it.");
		else if (ready)
			bad(s, 503, "Already logged on.");
		else if (!lacks_tls(s))
			logon_pass(s, line);
		return;
	case VERB_ACTION_ACCT:
		if (ready)
			forward(s, command, line);
		else
			logon_acct(s, line);
		return;
	case VERB_ACTION_HOST:
		take_host(s, command->argument);
		return;
	case VERB_ACTION_QUIT:
		quit(s, command, line);
		return;
	case VERB_ACTION_REIN:
		/* RFC 4217 section 13 would have TLS end with it, which CCC may not do here either. */
		if (is_protected(s))
			bad(s, 502, "REIN is not available under TLS; reconnect instead.");
		else
			session_reinitialise(s);
		return;
	case VERB_ACTION_ABOR:
		transfer_free(s);
		forward(s, command, line);
		return;
	case VERB_ACTION_PORT:
		transfer_prepare(s, command);
		return;
	case VERB_ACTION_DOWN:
	case VERB_ACTION_UP:
		transfer_start(s, command, line);
		return;
	case VERB_ACTION_SECURITY:
		answer_security(s, command);
		return;
	case VERB_ACTION_LOCAL:
		if (ready)
			forward(s, command, line);
		else
			answer_local(s, command);
		return;
	case VERB_ACTION_OWN:
		answer_local(s, command);
		return;
	case VERB_ACTION_REFUSE:
		bad(s, 502, "Command not implemented.");
		return;
	case VERB_ACTION_FORWARD:
	case VERB_ACTION_REST:
		break;
	}
	if (command->verb == VERB_MODE && !is_stream_mode(command->argument))
		bad(s, 504, "Only MODE S is supported here.");
	else
		forward(s, command, line);
}

void command_line(struct session *s, enum queued kind, struct span line)
{
	struct command command;
	struct verdict verdict;

	if (kind == QUEUED_TOO_LONG) {
		bad(s, 500, "Command line too long.");
		return;
	}
	if (kind == QUEUED_BAD) {
		bad(s, 501, "Command line holds a NUL, a bare CR, or a bare LF where CRLF is required.");
		return;
	}
	command = command_parse(line);
	atomic_fetch_add_explicit(&s->live->commands, 1, memory_order_relaxed);
	if (policy_is_activity(s->policy, command.verb))
		session_activity(s);
	if (s->phase == PHASE_GREETED && is_cross_protocol(&command)) {
		session_end(s, END_CROSS_PROTOCOL);
		return;
	}
	verdict = policy_command(s->policy, s->phase, &command);
	if (verdict.kind == VERDICT_REPLY)
		refused(s, &command, &verdict);
	else
		act(s, &command, line);
}

bool command_inflight(struct session *s, struct span line)
{
	struct command command = command_parse(line);

	if (s->transfer == NULL || !s->transfer->running || s->purpose != PURPOSE_TRANSFER)
		return false;
	if (!(verb_row(command.verb)->flags & VERB_FLAG_INFLIGHT) || command.argument.n > 0)
		return false;
	if (verb_row(command.verb)->action == VERB_ACTION_ABOR) {
		session_activity(s);
		transfer_abor(s);
	} else {
		transfer_status(s);
	}
	return true;
}

/*
 * Some servers give a size in a 250, which otherwise is the answer to CWD and
 * the like; but a number is nothing that these say.
 */
static bool is_size(enum verb verb, const struct reply *reply)
{
	return verb == VERB_SIZE && reply->code == 250 && reply->text.n > 0 && reply->text.p[0] >= '0' &&
	       reply->text.p[0] <= '9';
}

void command_on_reply(struct session *s, const struct reply *reply)
{
	enum verb verb = s->verb;

	if (!verb_reply_fits(verb, reply->code) && !is_size(verb, reply)) {
		if (s->late_abor && (reply->code == 225 || reply->code == 226)) {
			s->late_abor = false;
			return;
		}
		session_desync(s, reply->code);
		return;
	}
	if (reply_is_preliminary(reply->code)) {
		session_to_client(s, reply->raw);
		return;
	}
	if (verb == VERB_FEAT) {
		feat_on_reply(s, reply);
		return;
	}
	session_answered(s);
	if (s->utf8_asked && reply_is_negative(reply->code)) {
		/* FEAT says UTF8: names pass as the bytes they are, whatever the server calls them. */
		session_say(s, 200, "UTF8 is on.");
		return;
	}
	session_to_client(s, reply->raw);
	if (verb == VERB_QUIT)
		session_end(s, END_CLIENT_QUIT);
}
