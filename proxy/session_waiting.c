// SPDX-License-Identifier: ISC
/*
 * A logon that waits for a server: lines of text keep the client and whatever
 * is between it and us from giving up (`queue_keepalive`). They are the first
 * lines of the reply to USER (RFC 959 section 4.2), whose code must be said
 * before it is known: 331. When the server then wants no password, or refuses,
 * the client is asked for one all the same, and gets that answer to PASS.
 */
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

int64_t waiting_text_ms(const struct session *s)
{
	/* To PASS nothing can be said before the server has said whether it is yes or no. */
	if (s->stage != LOGON_QUEUED || s->policy->queue_keepalive_ms == 0 || s->logon->pass_line != NULL)
		return 0;
	return s->logon->waited_ms + s->policy->queue_keepalive_ms;
}

void waiting_say(struct session *s)
{
	static const char line[] = "331-All servers are busy; your logon waits for its turn.\r\n";

	s->logon->waited_ms = s->loop->now_ms;
	s->logon->text_open = true;
	session_to_client(s, span_from(line, sizeof(line) - 1));
}

void waiting_close(struct session *s)
{
	if (s->logon == NULL || !s->logon->text_open)
		return;
	s->logon->text_open = false;
	session_reply(s, 331, "Password required.");
}

void waiting_forget_answer(struct logon *logon)
{
	free(logon->answer);
	logon->answer = NULL;
	logon->answer_n = 0;
	logon->answer_code = 0;
}

void waiting_keep_answer(struct session *s, const struct reply *reply)
{
	struct logon *logon = s->logon;

	waiting_forget_answer(logon);
	logon->answer = malloc(reply->raw.n);
	if (logon->answer == NULL) {
		s->no_memory = true;
		return;
	}
	memcpy(logon->answer, reply->raw.p, reply->raw.n);
	logon->answer_n = reply->raw.n;
	logon->answer_code = reply->code;
	waiting_close(s);
	s->stage = LOGON_PASSWORD;
	session_answered(s);
}
