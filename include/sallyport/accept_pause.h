// SPDX-License-Identifier: ISC
/*
 * Accepting rests a while when descriptors or memory have run out: left alone,
 * the loop would report the connections that wait for ever. For all listening
 * sockets of an owner together; on its thread.
 */
#ifndef SALLYPORT_ACCEPT_PAUSE_H
#define SALLYPORT_ACCEPT_PAUSE_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "sallyport/base.h"
#include "sallyport/counters.h"

#define ACCEPT_PAUSE_MS 1000

/* Watches the owner's listening sockets, or lets them be. */
typedef void accept_watch_fn(void *owner, bool on);

struct accept_pause {
	bool resting;
	struct event on_resume;
	accept_watch_fn *watch;
	void *owner;
};

void accept_pause_init(struct accept_pause *pause, struct event_base *base, accept_watch_fn *watch, void *owner);
void accept_pause_fini(struct accept_pause *pause);
/* False: it rests already, or cannot, for want of memory; then it is asked for again at once. */
bool accept_pause_begin(struct accept_pause *pause, struct counters *counters);

#endif
