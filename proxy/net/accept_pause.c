// SPDX-License-Identifier: ISC
/*
 * The rest of accepting: sockets out of the loop, a timer, sockets back in.
 */
#include "sallyport/accept_pause.h"

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct accept_pause *pause = arg;

	(void)fd;
	(void)what;
	pause->resting = false;
	pause->watch(pause->owner, true);
}

void accept_pause_init(struct accept_pause *pause, struct event_base *base, accept_watch_fn *watch, void *owner)
{
	pause->resting = false;
	pause->watch = watch;
	pause->owner = owner;
	evtimer_assign(&pause->on_resume, base, on_resume, pause);
}

void accept_pause_fini(struct accept_pause *pause)
{
	event_del(&pause->on_resume);
}

bool accept_pause_begin(struct accept_pause *pause, struct counters *counters)
{
	const struct timeval rest = { ACCEPT_PAUSE_MS / 1000, ACCEPT_PAUSE_MS % 1000 * 1000 };

	if (pause->resting || event_add(&pause->on_resume, &rest) != 0)
		return false;
	pause->resting = true;
	counter_add(counters, COUNT_ACCEPT_PAUSES, 1);
	pause->watch(pause->owner, false);
	return true;
}
