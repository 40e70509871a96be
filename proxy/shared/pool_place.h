// SPDX-License-Identifier: ISC
/*
 * What the files of the pool ledger share: pool_ledger.c (places, slots, those
 * who wait), pool_health.c (states, checks, connections that are kept ready).
 */
#ifndef SALLYPORT_POOL_PLACE_H
#define SALLYPORT_POOL_PLACE_H

#include <stdatomic.h>

#include "sallyport/pool_ledger.h"
#include "sallyport/wait_queue.h"

/* One server, by name. */
struct place {
	struct pool_server_terms terms;
	bool configured;
	size_t index; /* in the latest configuration */
	enum server_state order; /* the operator's; UP: as its health is */
	struct health health;
	bool trial; /* a logon is trying it */
	bool checking; /* a check is under way */
	uint32_t opening; /* connections on their way to be warm, or being looked at */
	uint32_t sessions;
	uint32_t reserved; /* of its max_sessions: checks, connections warm and on their way */
	uint64_t logons;
	uint64_t failures;
	uint64_t checks;
	uint64_t checks_failed;
	uint64_t name_hash;
	int64_t current; /* balance_choose()'s */
	int64_t changed_ms; /* the last change of state; 0: none */
	struct warm warm[POOL_WARM_MAX]; /* the newest last */
	size_t warm_n;
	size_t warm_stale; /* the first of them lead to a server that is not at this place any more */
	int64_t warm_at_ms; /* not tried before */
	struct netaddr address; /* AF_UNSPEC: vacant, or as configured */
	uint32_t weight; /* of its address; 0: as configured */
	bool backup; /* its address is one */
	bool leaving;
	bool told; /* its name has been looked up */
	unsigned lookups_failed_in_row;
	uint64_t lookups_failed;
	char reason[sizeof(((struct pool_server_status *)0)->reason)];
	char check_text[sizeof(((struct pool_server_status *)0)->check_text)];
	/* Any thread, without the lock. */
	_Atomic unsigned lessons;
	_Atomic uint32_t failures_in_row;
	_Atomic int64_t response_us;
};

struct pool_ledger {
	struct core_lock lock;
	enum balance_algorithm algorithm;
	struct feature_memory *features; /* has a lock of its own */
	size_t places_n;
	/* An entry is written once, before its number is known. */
	struct place *places[POOL_PLACES_MAX];
	struct wait_queue waiters;
};

static inline struct place *place_at(struct pool_ledger *ledger, uint16_t place)
{
	SP_ASSERT(place < POOL_PLACES_MAX && ledger->places[place] != NULL);
	return ledger->places[place];
}

static inline enum server_state place_state(const struct place *place)
{
	return place->order != SERVER_UP ? place->order : place->health.down ? SERVER_DOWN : SERVER_UP;
}

/* There is a server to be used. */
static inline bool place_is_there(const struct place *place)
{
	if (!place->terms.follows)
		return true;
	if (place->address.family == AF_UNSPEC)
		return place->terms.leads && !place->told && !place->terms.service;
	return !place->leaving;
}

/* Which servers there are is being asked for the first time. */
static inline bool place_is_awaited(const struct place *place)
{
	return place->configured && place->terms.service && place->terms.leads && !place->told &&
	       place->lookups_failed_in_row == 0;
}

/* Another one is another server. */
static inline uint64_t place_identity(const struct place *place)
{
	return place->address.family == AF_UNSPEC ? place->terms.identity
						  : place->terms.identity ^ place->name_hash;
}

static inline size_t place_warm(const struct place *place)
{
	return place->warm_n - place->warm_stale;
}

static inline uint32_t place_weight(const struct place *place)
{
	return place->weight > 0 ? place->weight : place->terms.weight;
}

static inline bool place_is_backup(const struct place *place)
{
	return place->terms.backup || place->backup;
}

/* What is at the server, or may be in a moment. */
static inline uint32_t place_taken(const struct place *place)
{
	return place->sessions + place->reserved;
}

/* Another server is at this place now, of which nothing is known; orders are for the place and stay. */
void pool_ledger_settle_server(struct place *place, int64_t now_ms, const char *reason);
/* The place of a name, or ledger->places_n. */
size_t pool_ledger_find(const struct pool_ledger *ledger, const char *name)
    SP_REQUIRES(ledger->lock, sp_any_shard);
/* Marks the next waiter as told and returns it. */
struct session_id pool_ledger_offer_locked(struct pool_ledger *ledger, int64_t now_ms)
    SP_REQUIRES(ledger->lock, sp_any_shard);

#endif
