// SPDX-License-Identifier: ISC
/*
 * Sessions that are young. Keep-alive (RFC 1122 section 4.2.3.6) is turned on
 * for the connections of those that live on: most logons of an estate's scripts
 * come and go within a second, and are spared four system calls and two timers.
 */
#include "sallyport/connect.h"
#include "session_private.h"

/* No longer young after this, and at most twice as long. */
#define YOUNG_MS 1000

static void set_timer(struct loop *loop)
{
	static const struct timeval turn = { YOUNG_MS / 1000, 0 };

	/* Without memory for the timer the next session tries again. */
	if (!evtimer_pending(&loop->on_young, NULL))
		(void)evtimer_add(&loop->on_young, &turn);
}

void young_begin(struct session *s)
{
	struct loop *loop = s->loop;

	s->young = true;
	s->older = loop->youngest;
	if (s->older != NULL)
		s->older->younger = s;
	else
		loop->oldest = s;
	loop->youngest = s;
	set_timer(loop);
}

void young_end(struct session *s)
{
	struct loop *loop = s->loop;

	if (!s->young)
		return;
	s->young = false;
	if (s->older != NULL)
		s->older->younger = s->younger;
	else
		loop->oldest = s->younger;
	if (s->younger != NULL)
		s->younger->older = s->older;
	else
		loop->youngest = s->older;
	s->older = NULL;
	s->younger = NULL;
}

void young_keep_server_alive(const struct session *s)
{
	if (s->young || !stream_is_open(&s->server.stream))
		return;
	(void)connect_set_keepalive_terms(s->server.stream.fd);
	(void)connect_set_keepalive(s->server.stream.fd);
}

void young_grow_up(struct session *s)
{
	if (!s->young)
		return;
	young_end(s);
	/* The terms are inherited from the listener. */
	(void)connect_set_keepalive(s->client.stream.fd);
	young_keep_server_alive(s);
}

void session_tend_young(struct loop *loop)
{
	loop->now_ms = sp_now_ms();
	while (loop->oldest != NULL && loop->now_ms - loop->oldest->facts.accepted_ms >= YOUNG_MS)
		young_grow_up(loop->oldest);
	if (loop->oldest != NULL)
		set_timer(loop);
}
