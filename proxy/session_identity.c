// SPDX-License-Identifier: ISC
/*
 * Who the client says he is, and as whom he is logged on: a route may take the
 * domain off his name, or log him on by credentials of its own. And what he is
 * told when he is refused, where nobody may learn from it which users there
 * are: every one is asked for his password, and every "no" takes as long.
 */
#include <stdlib.h>
#include <string.h>

#include "sallyport/credentials.h"
#include "sallyport/route.h"
#include "session_private.h"

static void wipe(char **line)
{
	if (*line == NULL)
		return;
	explicit_bzero(*line, strlen(*line));
	free(*line);
	*line = NULL;
}

/* "VERB argument", in memory of its own. A line may hold "CR NUL"; what follows the NUL is not kept. */
bool identity_keep(char **to, const char *verb, struct span argument)
{
	size_t head = strlen(verb) + 1;

	wipe(to);
	*to = malloc(head + argument.n + 1);
	if (*to == NULL)
		return false;
	(void)sp_copy(*to, head + 1, verb);
	(*to)[head - 1] = ' ';
	(void)span_copy(*to + head, argument.n + 1, argument);
	return true;
}

/* A command line as it came. */
static bool keep_line(char **to, struct span line)
{
	wipe(to);
	*to = malloc(line.n + 1);
	if (*to == NULL)
		return false;
	(void)span_copy(*to, line.n + 1, line);
	return true;
}

void identity_wipe(struct logon *logon)
{
	wipe(&logon->user_line);
	identity_forget_secrets(logon);
}

void identity_forget_secrets(struct logon *logon)
{
	wipe(&logon->pass_line);
	wipe(&logon->acct_line);
}

/* The name without the last "@" and what is behind it, if there is a name before it. */
static struct span without_domain(struct span name)
{
	for (size_t i = name.n; i > 1; i--) {
		if (name.p[i - 1] == '@')
			return span_from(name.p, i - 1);
	}
	return name;
}

bool identity_take_user(struct session *s, const struct route_rule *rule, struct span line, struct span name)
{
	struct logon *logon = s->logon;

	logon->as = rule->credentials != NULL ? credentials_for_user(rule->credentials, name) : NULL;
	if (logon->as != NULL)
		return identity_keep(&logon->user_line, "USER", logon->as->user);
	if (rule->strip_domain)
		return identity_keep(&logon->user_line, "USER", without_domain(name));
	return keep_line(&logon->user_line, line);
}

bool identity_take_password(struct session *s, struct span line)
{
	struct logon *logon = s->logon;

	if (logon->as != NULL)
		return identity_keep(&logon->pass_line, "PASS", logon->as->password);
	return keep_line(&logon->pass_line, line);
}

bool identity_take_account(struct session *s, struct span line)
{
	return keep_line(&s->logon->acct_line, line);
}

bool identity_know_account(struct session *s)
{
	struct logon *logon = s->logon;

	if (logon->acct_line == NULL && logon->as != NULL && logon->as->account.n > 0 &&
	    !identity_keep(&logon->acct_line, "ACCT", logon->as->account))
		s->no_memory = true;
	return logon->acct_line != NULL;
}

/* --- being refused ------------------------------------------------------------------ */

bool identity_is_guarded(const struct session *s)
{
	return s->listener->unknown_user == UNKNOWN_USER_REJECT;
}

void identity_ask_password(struct session *s)
{
	session_reply(s, 331, "Password required.");
	s->stage = LOGON_PASSWORD;
	session_answered(s);
}

/* The clock of the listener's, whatever policy a route would have given: the same for all. */
void identity_refuse(struct session *s)
{
	s->policy = s->listener->policy;
	s->refuse_at_ms = s->logon->password_ms + s->listener->reject_delay_ms;
	identity_forget_secrets(s->logon);
	s->facts.connecting_ms = 0;
	s->facts.queued_ms = 0;
	s->facts.command_sent_ms = 0;
	s->facts.slow_command_ms = 0;
	s->purpose = PURPOSE_LOGON;
	s->stage = LOGON_REFUSED;
}

void identity_say_refused(struct session *s)
{
	s->stage = LOGON_NONE;
	session_answered(s);
	session_reply(s, 530, "Not logged on.");
	command_error(s);
}
