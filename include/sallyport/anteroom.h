// SPDX-License-Identifier: ISC
/*
 * The anteroom of the doors: connections to pooled ports that may be any of
 * several sessions' are held here, not more of them and not longer than the
 * limits say, until their ClientHello names one. It is looked at and not taken:
 * the session finds it in the socket. Knows no sessions and no registry.
 */
#ifndef SALLYPORT_ANTEROOM_H
#define SALLYPORT_ANTEROOM_H

#include <event2/event.h>

#include "sallyport/base.h"
#include "sallyport/netaddr.h"
#include "sallyport/tls_hello.h"

/* Connections held by one worker, and of these of one address. */
#define ANTEROOM_MAX	 512
#define ANTEROOM_OF_HOST 64
/* A client says its ClientHello only when it has heard 150: that may take its time. */
#define ANTEROOM_WAIT_MS 60000

/* What is known of a connection that has been accepted. */
struct knock {
	struct netaddr from;
	uint16_t port;
	uint64_t epoch; /* of the registry, before it was accepted */
};

struct anteroom; /* of one worker */

/*
 * A connection leaves, and its descriptor is the callee's. NULL: it has said no
 * name, has said none in time, or has been ended by its client.
 */
typedef void anteroom_leave_fn(void *owner, const struct knock *knock, const struct port_name *name, int fd);

/* NULL: no memory. */
SP_MUSTCHECK struct anteroom *anteroom_new(struct event_base *base, const struct tls_hello_reader *reader,
					   anteroom_leave_fn *leave, void *owner);
/* All leave, nameless. */
void anteroom_free(struct anteroom **room);

/* Holds it; it leaves in another turn of the loop. False: there is no room, and `fd` is still the caller's. */
SP_MUSTCHECK bool anteroom_hold(struct anteroom *room, const struct knock *knock, int fd);

/* How many are held. */
size_t anteroom_count(const struct anteroom *room);

#endif
