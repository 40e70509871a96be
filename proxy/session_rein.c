// SPDX-License-Identifier: ISC
/*
 * REIN (RFC 959 section 4.1.1): the logon is taken back and the session is as it
 * was behind the greeting. A transfer that runs has ended before this is called.
 * The server gets QUIT and not REIN: the next USER may lead to another one.
 */
#include <stdlib.h>
#include <string.h>

#include "session_private.h"

static void forget_user(struct session *s)
{
	free(s->host);
	s->host = NULL;
	memset(&s->info.server, 0, sizeof(s->info.server));
	s->info.user[0] = '\0';
	s->last_server = NULL;
	s->pool = NULL;
	s->only_server = ROUTE_ANY_SERVER;
	s->policy = s->listener->policy;
	s->phase = PHASE_GREETED;
	s->stage = LOGON_NONE;
	s->utf8_on = false;
	s->utf8_asked = false;
	s->epsv_all = false;
	s->late_abor = false;
}

static void reset_clocks(struct session *s)
{
	/* Only who was logged on gets the time for a logon anew: REIN does not keep idlers in. */
	if (s->facts.logged_on_ms != 0) {
		young_grow_up(s); /* they are told by their age */
		s->facts.accepted_ms = s->loop->now_ms;
	}
	s->facts.logged_on_ms = 0;
	s->facts.last_transfer_ms = 0;
}

void session_reinitialise(struct session *s)
{
	struct sp_event event;

	if (s->phase == PHASE_READY) {
		session_log_event(s, &event, EVENT_LOGOFF);
		event_emit(s->loop->events, &event);
	}
	transfer_free(s);
	logon_free(s);
	session_drop_server(s, s->server_eof);
	s->early = false;
	forget_user(s);
	reset_clocks(s);
	logon_foresee(s);
	session_publish(s);
	session_reply(s, 220, "%s", s->listener->greeting);
	logon_early(s);
}
