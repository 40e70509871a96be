// SPDX-License-Identifier: ISC
/*
 * Doors: the listening sockets of pooled ports, which stay open from one
 * reload to the next. Each is one worker's (port % workers): it accepts what
 * comes there, for whichever session of whichever worker the registry names,
 * and refuses the rest. Where a balancer writes PROXY headers, the header is
 * read first, since only it says who connects; where several sessions share the
 * port, its ClientHello is waited for, which names one of them (anteroom.h).
 * Knows no sessions but by id.
 */
#ifndef SALLYPORT_DOORS_H
#define SALLYPORT_DOORS_H

#include <event2/event.h>

#include "sallyport/base.h"
#include "sallyport/counters.h"
#include "sallyport/netaddr.h"
#include "sallyport/port_registry.h"
#include "sallyport/tls_hello.h"

/* Connections of one worker whose PROXY header is awaited: how many, and for how long. */
#define ARRIVALS_MAX	512
#define ARRIVAL_WAIT_MS 10000

/* What a door is, or is to be. */
struct door_terms {
	struct netaddr address;	  /* with its port */
	int fd;			  /* listening; -1: the worker has it already */
	bool header;		  /* a PROXY header comes first, from `trusted` only */
	struct netblock *trusted;
	size_t trusted_n;
};

/* All doors that a worker is to have from now on; others are closed. Made by main. */
struct door_plan {
	size_t n;
	struct door_terms v[]; /* the networks are allocated */
};
/* Closes and frees what it holds. */
void door_plan_free(struct door_plan **plan);

/* A listening socket for a pooled port, not shared: a descriptor or -errno. Main. */
SP_MUSTCHECK int door_open(const struct netaddr *address);

/*
 * A connection for the session, which may be another worker's or gone by now;
 * the callee takes the descriptor over. `later`: not from within this call,
 * whoever's it is. On the doors' thread.
 */
typedef void door_deliver_fn(void *owner, const struct port_owner *to, int fd, bool later);

struct doors; /* those of one worker */

/* NULL: no memory. */
struct doors *doors_new(struct event_base *base, struct port_registry *registry,
			const struct tls_hello_reader *hellos, struct counters *counters,
			door_deliver_fn *deliver, void *owner);
void doors_free(struct doors **doors);

/* Opens, keeps, closes: takes the plan over. False: no memory for a door, which is closed then. */
bool doors_follow(struct doors *doors, struct door_plan **plan);

/*
 * Deals with all connections that have come by now to a door, whichever worker
 * has it; it must be open for as long as this takes. 0, or -errno when they
 * could not all be looked at.
 */
SP_MUSTCHECK int doors_sweep(struct doors *doors, const struct door_terms *door);

/* Whether there are any. */
bool doors_any(const struct doors *doors);

/* Refuses a connection that was delivered and is not wanted any more: RST. */
void door_refuse(struct counters *counters, int fd);

#endif
