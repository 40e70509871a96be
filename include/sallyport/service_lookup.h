// SPDX-License-Identifier: ISC
/*
 * Looking up the servers of a domain's FTP service: its SRV records, kept for
 * their TTL, then the addresses of each target, which the resolver keeps. Like
 * the resolver it never calls back after it was freed; the loop is its own.
 */
#ifndef SALLYPORT_SERVICE_LOOKUP_H
#define SALLYPORT_SERVICE_LOOKUP_H

#include "sallyport/resolver.h"
#include "sallyport/services.h"

#define SERVICE_ADDRESSES_MAX 64

struct service_found {
	struct named_address addresses[SERVICE_ADDRESSES_MAX];
	size_t n;	  /* 0: the service is not offered, or `error` */
	unsigned more;	  /* targets that there was no room for */
	bool not_offered; /* the domain says so */
};

/* `found` is borrowed. `error`: a static text; then nothing is known, or nobody could say now. */
typedef void service_found_fn(void *owner, const struct service_found *found, const char *error);

struct service_lookup;

/* `domain` is borrowed. NULL: no memory. */
SP_MUSTCHECK struct service_lookup *service_lookup_new(struct resolver *resolver, const char *domain,
						       enum address_family family, service_found_fn *done,
						       void *owner);
/* Before the resolver. NULL is fine. Not from its callback. */
void service_lookup_free(struct service_lookup **lookup);

/* Looks up, unless that is under way; the callback comes once for it, perhaps before this returns. */
void service_lookup_ask(struct service_lookup *lookup);

#endif
