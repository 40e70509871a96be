// SPDX-License-Identifier: ISC
/*
 * What the files of the port registry share: port_registry.c (who has which
 * place, and whose a connection is), port_choice.c (which port an address is
 * given). Both under the lock of the address' shard.
 */
#ifndef SALLYPORT_PORT_PLACES_H
#define SALLYPORT_PORT_PLACES_H

#include <stdatomic.h>

#include "sallyport/port_registry.h"

#define SHARDS		16
#define BUCKETS		256  /* of a shard */
#define RESTS_MAX	1024 /* of a shard; the oldest go first */
#define PORTS		65536

/* An address without its port, so that equal ones are equal bytes. */
struct host {
	uint64_t high;
	uint64_t low;
	uint64_t family;
};

enum place_state {
	PLACE_HELD,	/* given out, not open yet */
	PLACE_RESERVED,
	PLACE_CLAIMED,	/* its connection is here */
	PLACE_RESTING,	/* nobody's */
};

struct place {
	struct place *next; /* in its bucket */
	struct place *older; /* among those that rest in the shard */
	struct place *newer;
	struct host host;
	uint64_t number;
	struct session_id owner;
	int64_t since_ms; /* it rests */
	uint64_t epoch;	  /* since when connections may be its own; 0: always */
	uint16_t port;
	enum place_state state;
	bool named;	  /* others have, or had, the same port: a connection is its own only by name */
	size_t names_n;
	struct port_name names[PORT_NAMES_MAX];
};

struct shard {
	struct core_lock lock;
	struct place *bucket[BUCKETS];
	struct place *oldest; /* that rests */
	struct place *newest;
	size_t rests;
};

struct port_registry {
	uint64_t seed;
	_Atomic uint64_t next_number;
	_Atomic uint64_t epoch; /* grows with every place that opens */
	_Atomic uint64_t reserved;
	_Atomic uint64_t resting;
	_Atomic unsigned most;
	struct shard shard[SHARDS];
	_Atomic uint32_t by_port[PORTS]; /* reservations */
};

/* Where an address belongs. */
struct spot {
	struct host host;
	struct shard *shard;
	struct place **bucket;
};

static inline bool same_host(const struct host *a, const struct host *b)
{
	return a->high == b->high && a->low == b->low && a->family == b->family;
}

static inline bool same_name(const struct port_name *a, const struct port_name *b)
{
	return a->kind == b->kind && a->high == b->high && a->low == b->low;
}

static inline bool has_name(const struct place *place, const struct port_name *name)
{
	for (size_t i = 0; i < place->names_n; i++) {
		if (same_name(&place->names[i], name))
			return true;
	}
	return false;
}

/* --- port_choice.c ---------------------------------------------------------------------- */

/* What an address has of the ports of a range. Bit i: port first + i. */
struct port_survey {
	uint64_t taken;
	uint64_t resting;
	uint64_t open;	  /* of those taken: whoever has them can be told from the wisher by name */
	unsigned sharers[POOLED_PORTS_MAX];
	struct place *oldest_own; /* resting; the longest rested one comes first */
	struct place *oldest;
};

/* `excluded` ones count as taken. */
void port_choice_survey(const struct spot *spot, const struct port_wish *wish, uint64_t excluded,
			struct port_survey *out);
/* 0: there is none. `share`: rather one that others have than none. */
uint16_t port_choice_make(const struct port_wish *wish, const struct port_survey *survey, bool share);

#endif
