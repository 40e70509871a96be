// SPDX-License-Identifier: ISC
/*
 * Servers of a service that a domain names by SRV records (RFC 2782): reading
 * the answer of a name server, and what share of the logons each address gets.
 * Pure: nothing is asked and nothing is kept here.
 */
#ifndef SALLYPORT_SERVICES_H
#define SALLYPORT_SERVICES_H

#include "sallyport/addresses.h"
#include "sallyport/base.h"
#include "sallyport/span.h"

#define SERVICE_PREFIX	    "_ftp._tcp."
#define SERVICE_TARGETS_MAX 16
#define SERVICE_HOST_MAX    254 /* with its NUL */
#define SERVICE_HOSTS_ADDRESSES_MAX 16
/* What the heaviest target has, as `weight` of a server has it. */
#define SERVICE_WEIGHT_MAX 1000

struct service_target {
	char host[SERVICE_HOST_MAX]; /* a host name, never a numeric label at the end of it */
	uint16_t port;		     /* never 0 */
	uint16_t priority;
	uint16_t weight;
};

struct service_answer {
	struct service_target targets[SERVICE_TARGETS_MAX]; /* the lowest priority first, of equals the heaviest */
	size_t n;
	unsigned more;	  /* targets beyond these */
	bool not_offered; /* the domain says that it has no such service: its only target is "." */
	uint32_t ttl_s;	  /* the shortest of the answer */
};

/*
 * Reads a whole message of DNS. A target that no host can have is left out.
 * False: the message is broken or not an answer; *out is as it was.
 */
SP_MUSTCHECK bool service_answer_parse(struct span message, struct service_answer *out);

/* What a target's name stands for. */
struct service_host {
	struct netaddr addresses[SERVICE_HOSTS_ADDRESSES_MAX]; /* with the target's port */
	size_t n;
};

/*
 * The addresses of all targets (hosts[i] is of answer->targets[i]), each once,
 * with their shares: those of the lowest priority are servers, all others
 * backups; a target's weight is divided among its addresses. First one of each
 * target, then the second ones. Returns how many there are, at most `max`.
 */
SP_MUSTCHECK size_t services_spread(const struct service_answer *answer, const struct service_host hosts[],
				    struct named_address out[], size_t max);

#endif
