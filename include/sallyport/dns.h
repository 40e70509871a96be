// SPDX-License-Identifier: ISC
/*
 * DNS queries: c-ares on a worker's loop. One question, one answer; what is
 * remembered between questions is the resolver's business.
 */
#ifndef SALLYPORT_DNS_H
#define SALLYPORT_DNS_H

#include <event2/event.h>

#include "sallyport/base.h"
#include "sallyport/netaddr.h"
#include "sallyport/services.h"

#define DNS_ADDRESSES_MAX 16

/* A server is given this long, in each further round twice as long as in the one before. */
#define DNS_TIMEOUT_MS 2000
#define DNS_TRIES      2

enum dns_status {
	DNS_OK,	    /* there are addresses */
	DNS_NONE,   /* an authority says that there are none */
	DNS_FAILED, /* nobody could say */
};

struct dns_answer {
	enum dns_status status;
	const char *error; /* static text; NULL when DNS_OK */
	int64_t ttl_ms;
	size_t n;
	struct netaddr addresses[DNS_ADDRESSES_MAX]; /* port 0; in the order of RFC 6724 */
};

struct dns;

/* `answer` is borrowed for the call. */
typedef void dns_done_fn(void *owner, int family, const struct dns_answer *answer);

/* NULL: no memory, or c-ares refused. Servers come from /etc/resolv.conf. */
struct dns *dns_new(struct event_base *base);
/* Ends open queries without a callback. Not from a callback. NULL is fine. */
void dns_free(struct dns **dns);

/*
 * Asks for the addresses of `host` of one family, AF_INET or AF_INET6. The
 * callback comes exactly once, perhaps before this returns, and must not free
 * *dns. /etc/hosts is not asked.
 */
void dns_query(struct dns *dns, const char *host, int family, dns_done_fn *done, void *owner);

/* What the SRV records of a name say. */
struct dns_services {
	enum dns_status status; /* DNS_OK: there are targets, or the service is not offered */
	const char *error;	/* static text; NULL when DNS_OK */
	struct service_answer answer;
};

struct dns_service_question;
typedef void dns_services_fn(void *owner, const struct dns_services *services);

/*
 * Asks for the SRV records of `name`. The callback comes once, perhaps before
 * this returns, and must not free *dns; not after dns_forget_services(). *handle
 * is the question while it is open, and NULL from the callback on.
 */
void dns_query_services(struct dns *dns, const char *name, dns_services_fn *done, void *owner,
			struct dns_service_question **handle);
void dns_forget_services(struct dns_service_question **handle);

/* Looks into /etc/hosts. False: nothing of this family there. Reads the file each time. */
bool dns_hosts(struct dns *dns, const char *host, int family, struct dns_answer *out);

/* "127.0.0.1:5353,[::1]:53". 0, -EINVAL, or -EBUSY while queries are open. */
SP_MUSTCHECK int dns_set_servers(struct dns *dns, const char *servers);

#endif
