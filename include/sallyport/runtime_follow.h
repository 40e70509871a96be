// SPDX-License-Identifier: ISC
/*
 * Following the names of servers with `resolve = all` or `srv`: looked up as often as
 * their TTL says, and the pools' ledgers told. Main.
 */
#ifndef SALLYPORT_RUNTIME_FOLLOW_H
#define SALLYPORT_RUNTIME_FOLLOW_H

#include <event2/event.h>

#include "sallyport/config.h"
#include "sallyport/event.h"

#define FOLLOW_TICK_MS 500

struct follower;

/* Begins at once. The pools have their ledgers. NULL: no memory. */
struct follower *follower_new(struct event_base *base, struct event_queue *events, struct config *config);
/* Another configuration is in force. NULL is fine. */
void follower_configure(struct follower *follower, struct config *config);
void follower_free(struct follower **follower);

#endif
