// SPDX-License-Identifier: ISC
/*
 * Balancing: which server of a pool a logon gets. Pure: the rows come from the
 * caller, who holds whatever lock they need; nothing is allocated or kept here.
 */
#ifndef SALLYPORT_BALANCE_H
#define SALLYPORT_BALANCE_H

#include "sallyport/base.h"
#include "sallyport/netaddr.h"
#include "sallyport/span.h"

enum balance_algorithm {
	BALANCE_ROUND_ROBIN,	     /* in turn, by weight, evenly spread: aabacaa, not aaaaabc */
	BALANCE_LEAST_SESSIONS,	     /* fewest sessions for its weight; of equals, in turn */
	BALANCE_RANDOM,		     /* two drawn by weight, the less loaded of them */
	BALANCE_FIRST,		     /* the first that has room: fill up one after another */
	BALANCE_HASH_USER,	     /* always the same server for a user, as far as possible */
	BALANCE_HASH_SOURCE,	     /* the same by the client's address */
	BALANCE_LEAST_RESPONSE_TIME, /* shortest wait: response time × sessions for its weight */
	BALANCE_ALGORITHM_COUNT,
};

/* "round_robin", "least_sessions", … as in the configuration. */
const char *balance_algorithm_name(enum balance_algorithm algorithm);
SP_MUSTCHECK bool balance_algorithm_find(struct span name, enum balance_algorithm *out);

#define BALANCE_ROWS_MAX   64
#define BALANCE_WEIGHT_MAX 1000000

/* One server as the choice sees it. */
struct balance_row {
	uint32_t weight;       /* 0: gets no new sessions; over BALANCE_WEIGHT_MAX counts as that */
	uint32_t sessions;     /* those that it has now, and those on their way */
	uint32_t max_sessions; /* 0: no limit */
	bool eligible;	       /* healthy, not draining, not in maintenance */
	bool backup;	       /* only when no other server is eligible */
	int64_t response_us;   /* smoothed; 0: not known, counts as the best one known */
	uint64_t name_hash;    /* balance_hash() of its name: what the hash algorithms know it by */
	int64_t current;       /* whose turn it is: starts at 0, written here, kept by the caller */
};

/* What is known of the logon. */
struct balance_ask {
	uint64_t tried;	      /* bit i: rows[i] is not to be chosen (has failed this logon) */
	uint64_t hash_user;   /* balance_hash() of the user's name */
	uint64_t hash_source; /* balance_hash_source() of the client */
	uint64_t random;      /* 64 random bits */
};

enum {
	BALANCE_NONE = -1, /* no server is eligible: all down, or tried already */
	BALANCE_FULL = -2, /* some are, and each of them is at its max_sessions: wait */
};

/*
 * The index of the server, BALANCE_NONE or BALANCE_FULL. n <= BALANCE_ROWS_MAX.
 * Only `current` of the rows is written. A backup is not used because the others
 * are full, only because none of them is eligible. Where the server of a hash is
 * full or down, the logon goes to the one that is next for the same hash; a
 * server that comes or goes moves only the users that it gains or loses.
 * Callers who want slow start lower a weight for a while (scale all of them up
 * first).
 */
SP_MUSTCHECK int balance_choose(enum balance_algorithm algorithm, struct balance_row rows[],
				size_t n, const struct balance_ask *ask);

/* 64 well-mixed bits; the same in every process and on every machine. */
uint64_t balance_hash(struct span bytes);

/* Of the host, without port; IPv6 by its /64, since hosts change the rest of it. */
uint64_t balance_hash_source(const struct netaddr *source);

#endif
