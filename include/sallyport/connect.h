// SPDX-License-Identifier: ISC
/*
 * Dialling: a non-blocking connect on a worker's loop, from an address list to
 * a connected descriptor. Tries the addresses in order until one answers. No
 * clock of its own: the session's connect_timeout or data_connect_timeout
 * cancels it.
 */
#ifndef SALLYPORT_CONNECT_H
#define SALLYPORT_CONNECT_H

#include <event2/event_struct.h>

#include "sallyport/base.h"
#include "sallyport/ledger.h"
#include "sallyport/netaddr.h"
#include "sallyport/session_id.h"

#define CONNECT_ADDRESSES_MAX 16

/*
 * `fd` is connected and the callee's, or -1 and `error` is an errno. `address`
 * is the one that answered, or failed last.
 */
typedef void connect_done_fn(void *owner, int fd, const struct netaddr *address, int error);

struct connect_options {
	struct netaddr source; /* AF_UNSPEC: the kernel chooses; its port 0: any */
	bool transparent;      /* `source` is not an address of this host (IP_TRANSPARENT) */
	bool nodelay;	       /* TCP_NODELAY */
	/*
	 * The peer speaks first (a server's greeting): done is called when it has, so
	 * that waiting for the connection and for its first byte is one registration
	 * with the loop. A failed attempt is told as early as without it.
	 */
	bool speaks_first;
};

/* Embedded in its owner. */
struct connect {
	bool active;
	int fd;
	struct event event;
	struct event_base *base;
	size_t n;
	size_t next;
	struct connect_options options;
	struct ledger *ledger;
	enum ledger_kind kind;
	struct session_id id;
	int last_error;
	connect_done_fn *done;
	void *owner;
	struct netaddr addresses[CONNECT_ADDRESSES_MAX];
};

void connect_init(struct connect *c);

/*
 * Starts, from the first of the `n` addresses (0 is an error that the callback
 * tells; more than CONNECT_ADDRESSES_MAX are cut). A `source` of the other
 * family skips an address. The callback never runs before this returns, nor
 * after connect_cancel(); once otherwise; it may start the next one or free
 * the memory. Until then the attempt's descriptor is counted in `ledger` as
 * `kind` (CONTROL_FD or DATA_FD), the attempt as CONNECT; neither is counted
 * any more when the callback runs. Worker thread.
 */
void connect_start(struct connect *c, struct event_base *base, const struct netaddr addresses[],
		   size_t n, const struct connect_options *options, struct ledger *ledger,
		   enum ledger_kind kind, struct session_id id, connect_done_fn *done, void *owner);

/*
 * Lets a socket that is not bound yet have an address that is not this host's
 * (CAP_NET_RAW). 0 or -errno.
 */
int connect_set_transparent(int fd, int family);

/*
 * Gives the address that is being tried up and goes on with the next one. False:
 * there is none; the attempt at the last one goes on. For the owner's clock.
 */
bool connect_next(struct connect *c);

/* Stops and closes what is under way; nothing happens when it is not active. */
void connect_cancel(struct connect *c);

/*
 * A peer that vanished is noticed after 120 s: by TCP_USER_TIMEOUT on a connection
 * with bytes under way, by keep-alive on a silent one (60 s, then 15 s × 4). These
 * are the terms; an accepted socket inherits them from a listening one. 0 or -errno.
 */
int connect_set_keepalive_terms(int fd);
/* Turns keep-alive on (SO_KEEPALIVE), which costs a timer in the kernel. 0 or -errno. */
int connect_set_keepalive(int fd);

#endif
