// SPDX-License-Identifier: ISC
/*
 * Looking names up on a worker's loop: /etc/hosts, then DNS, A and AAAA at the
 * same time. Answers are kept for their TTL (bounded by a floor and a ceiling)
 * and asked for again shortly before they would run out, if somebody uses them;
 * many waiters share one query. When DNS fails, or is slow, the last good
 * answer is given; when it says that there is no such name, that is the answer.
 *
 * Three promises: the callback never runs before resolver_lookup() returns;
 * never after resolver_forget(); exactly once otherwise.
 *
 * Worker thread.
 */
#ifndef SALLYPORT_RESOLVER_H
#define SALLYPORT_RESOLVER_H

#include <event2/event.h>

#include "sallyport/base.h"
#include "sallyport/netaddr.h"

#define RESOLVER_ADDRESSES_MAX 16
#define RESOLVER_TTL_FLOOR_MS  1000
#define RESOLVER_TTL_CEIL_MS   300000
#define RESOLVER_NEGATIVE_MS   2000
/* One family has answered: so long may the other still come (RFC 8305 section 3). */
#define RESOLVER_FAMILY_WAIT_MS 200
/* There is an old answer: so long may a new one take before the old one is given (RFC 8767). */
#define RESOLVER_STALE_WAIT_MS 1000
/* Names remembered; more only while somebody waits for them. */
#define RESOLVER_NAMES_MAX 512

struct resolver;
struct resolver_query;

/*
 * `n` addresses (port as asked), borrowed for the call; 0 when there are none,
 * and `error` is then a static text that says why; with addresses it is NULL,
 * unless they are the last good ones because nobody could say now.
 */
typedef void resolver_done_fn(void *owner, const struct netaddr addresses[], size_t n,
			      const char *error);

/* One a worker. NULL: no memory or c-ares failed. Servers come from /etc/resolv.conf. */
struct resolver *resolver_new(struct event_base *base);
/* Waiters are forgotten (their handles are void). Not from a callback. NULL is fine. */
void resolver_free(struct resolver **resolver);

/*
 * Looks `host` up (a name; numeric addresses are the caller's own business).
 * Addresses come sorted as RFC 6724 has it, both families interleaved so that
 * a dead one costs one attempt. NULL: no memory. The handle is void when the
 * callback has run; within it resolver_forget() is still fine.
 */
SP_MUSTCHECK struct resolver_query *resolver_lookup(struct resolver *resolver, const char *host,
						    uint16_t port, resolver_done_fn *done,
						    void *owner);

/* Forgets the waiter; *query becomes NULL. NULL is fine. */
void resolver_forget(struct resolver_query **query);

/*
 * For tests and for configurations with name servers of their own:
 * "127.0.0.1:5353,[::1]:53". 0, -EINVAL, or -EBUSY while queries are open.
 */
SP_MUSTCHECK int resolver_set_servers(struct resolver *resolver, const char *servers);
/* The same for addresses with their ports; none: nothing is changed. -ENOMEM as well. */
SP_MUSTCHECK int resolver_use_servers(struct resolver *resolver, const struct netaddr servers[], size_t n);

/* Bounds of the time for which an answer is used, instead of RESOLVER_TTL_FLOOR_MS and RESOLVER_TTL_CEIL_MS. */
void resolver_use_ttl(struct resolver *resolver, int64_t floor_ms, int64_t ceil_ms);
/* How long an answer of this TTL is used. */
SP_MUSTCHECK int64_t resolver_keep_ms(const struct resolver *resolver, int64_t ttl_ms);
/* For questions that it does not remember; it stays the resolver's. */
struct dns;
struct dns *resolver_dns(struct resolver *resolver);

#endif
